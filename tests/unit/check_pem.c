/*
 * check_pem.c: the reader of certificates, requests and keys.  What openssl
 * says of many more of them is compared by the script names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../cmregen.h"
#include "fixture.h"
#include "keys.h"

#define LOOP(NAME, TABLE) tcase_add_loop_test(tc, (NAME), 0,		\
    (int)(sizeof(TABLE) / sizeof((TABLE)[0])))

/*
 * DER is written here as text: two hex digits are a byte, 'abc' these bytes,
 * and 30{..} an element with that tag, whose length is computed.  Blanks do
 * not count.
 */

struct bytes {
	size_t n;
	unsigned char p[TEXT_SIZE];
};

/* Closes an element that begins there: writes its length. */
static void
length_put(struct bytes *b, size_t from)
{
	unsigned char head[3];
	size_t n, len;

	len = b->n - from;
	n = 0;
	if (len > 0xff) {
		head[n++] = 0x82;
		head[n++] = (unsigned char)(len >> 8);
	} else if (len > 0x7f)
		head[n++] = 0x81;
	head[n++] = (unsigned char)len;
	ck_assert_uint_lt(b->n + n, sizeof(b->p));
	memmove(b->p + from + n, b->p + from, len);
	memcpy(b->p + from, head, n);
	b->n += n;
}

static void
der_put(struct bytes *b, const char *t)
{
	char hex[3] = "";
	size_t open[16];
	int depth;

	for (b->n = 0, depth = 0; *t != '\0'; t++) {
		ck_assert_uint_lt(b->n, sizeof(b->p));
		if (*t == '\'') {
			while (*++t != '\'')
				b->p[b->n++] = (unsigned char)*t;
		} else if (*t == '{') {
			ck_assert_int_lt(depth, 16);
			open[depth++] = b->n;
		} else if (*t == '}') {
			ck_assert_int_gt(depth, 0);
			length_put(b, open[--depth]);
		} else if (*t != ' ') {
			memcpy(hex, t++, 2);
			ck_assert_uint_eq(strspn(hex,
			    "0123456789abcdefABCDEF"), 2);
			b->p[b->n++] = (unsigned char)strtoul(hex, NULL, 16);
		}
	}
	ck_assert_int_eq(depth, 0);
}

/* A block of that label. */
static const char *
block(const char *label, const unsigned char *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	static char out[2 * TEXT_SIZE];
	unsigned long word;
	size_t i, k;
	int len;

	len = sprintf(out, "-----BEGIN %s-----\n", label);
	for (i = 0; i < n; i += 3) {
		word = (unsigned long)p[i] << 16;
		if (i + 1 < n)
			word |= (unsigned long)p[i + 1] << 8;
		if (i + 2 < n)
			word |= p[i + 2];
		for (k = 0; k < 4; k++)
			out[len++] = i + k > n ? '=' :
			    digits[word >> (18 - 6 * k) & 63];
		if (i % 48 == 45)
			out[len++] = '\n';
	}
	(void)sprintf(out + len, "\n-----END %s-----\n", label);
	return out;
}

static const char *const label[] = {
	"CERTIFICATE", "CERTIFICATE REQUEST", "PRIVATE KEY"
};

/* Reads DER as a block of that kind. */
static void
bytes_read(struct pem *p, enum pem_kind kind, const unsigned char *der,
    size_t n)
{
	memset(p, 0x5a, sizeof(*p));
	ck_assert_int_eq(pem_read(p, block(label[kind], der, n), kind), 0);
	ck_assert_uint_eq(strlen(p->fingerprint), 95);
	if (!p->odd)
		return;
	ck_assert_str_eq(p->serial, "");
	ck_assert_str_eq(p->end, "");
	ck_assert_uint_eq(p->key_size, 0);
	ck_assert_str_eq(p->names, "");
	ck_assert_str_eq(p->extensions, "");
}

static void
der_read(struct pem *p, enum pem_kind kind, const char *t)
{
	static struct bytes b;

	der_put(&b, t);
	bytes_read(p, kind, b.p, b.n);
}

#define CURVE	"06{2a8648ce3d030107}"
#define POINT	"03{00 04 'x and y of the point'}"
#define ALG_EC	"30{06{2a8648ce3d0201}" CURVE "}"
#define KEY_EC	"30{" ALG_EC POINT "}"
#define RSA	"02{00c1020304}02{010001}"
#define ALG_RSA	"30{06{2a864886f70d010101}0500}"
#define KEY_RSA	"30{" ALG_RSA "03{00 30{" RSA "}}}"
#define SIGNED	"30{06{2a8648ce3d040302}}"
#define TIME	"17{'311126093012Z'}"
#define THIRD	"a0{02{02}}"

/* The parts of a certificate, or of a request, that differ in the tests. */
static const char *
certificate_of(const char *start, const char *serial, const char *validity,
    const char *key, const char *rest)
{
	return text("30{30{%s%s" SIGNED "30{}30{%s}30{}%s%s}" SIGNED
	    "03{00 'signature'}}", start, serial, validity, key, rest);
}

static const char *
request_of(const char *start, const char *key, const char *rest)
{
	return text("30{30{%s30{}%s%s}" SIGNED "03{00 'signature'}}", start,
	    key, rest);
}

/* A certificate, and a request, with these extensions. */
static const char *
extended(enum pem_kind kind, const char *extensions)
{
	if (kind == PEM_CERTIFICATE)
		return certificate_of(THIRD, "02{07}", TIME TIME, KEY_EC,
		    text("a3{30{%s}}", extensions));
	return request_of("02{00}", KEY_EC, text(
	    "a0{30{06{2a864886f70d01090e}31{30{%s}}}}", extensions));
}

/*
 * Blocks.
 */

/* openssl req -new, and what openssl says is its fingerprint. */
static const char csr[] =
    "-----BEGIN CERTIFICATE REQUEST-----\n"
    "MIIBjjCB+AIBADAaMRgwFgYDVQQDDA9jbTEuZXhhbXBsZS5jb20wgZ8wDQYJKoZI\n"
    "hvcNAQEBBQADgY0AMIGJAoGBALaxCNzj0d5IHypMCROOHRNrpj3XmVgHqSZ3wzOE\n"
    "FUjCWm7DDMJLPLx2RweyQjdiOnxMV4zTB7meWrRcLcwjwCvp5OzYo35BF2ldJTPo\n"
    "1vujlTOK8E2h408UWOdXTGg2ODhrF4ONNUuSwF8s1DfZg8yIz9SVuK6Qopmcqe83\n"
    "D4A9AgMBAAGgNTAzBgkqhkiG9w0BCQ4xJjAkMCIGA1UdEQQbMBmCD2NtMS5leGFt\n"
    "cGxlLmNvbYIGcHVwcGV0MA0GCSqGSIb3DQEBCwUAA4GBAG+1w0Km8z4wPbZOQdO1\n"
    "1Zp7vJPjBj0Cc/t2HRpcEiD5UnIXJWfQgd/vq51atbY1u0eV9Rz125w2Vqmp184O\n"
    "I8uw1JvNvkJ04ei+oGcOr7hB6VjM2aOnT0mDLVVPoffLh4BS9slVj7q5JMMfefh6\n"
    "wBaa8Kx2jk+D2f8ormt8xHn8\n"
    "-----END CERTIFICATE REQUEST-----\n";
static const char csr_sum[] = "D2:ED:4D:F3:B6:63:16:C3:FA:16:72:3F:40:16:8D:"
    "A3:5A:3E:17:52:98:85:9D:21:11:4E:F1:0F:AA:E5:37:9F";

static void
csr_is(const char *s)
{
	struct pem p;

	ck_assert_int_eq(pem_read(&p, s, PEM_REQUEST), 0);
	ck_assert_str_eq(p.fingerprint, csr_sum);
}

START_TEST(pem_read_is_what_openssl_says)
{
	csr_is(csr);
}
END_TEST

START_TEST(pem_read_takes_text_around_the_block)
{
	csr_is(text("Subject: CN=cm1\n\n%s\nmore\n", csr));
	csr_is(text("-----BEGIN CERTIFICATE-----\nAAAA\n"
	    "-----END CERTIFICATE-----\n%s", csr));
	csr_is(text("%s-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
	    "-----END CERTIFICATE REQUEST-----\n", csr));
}
END_TEST

START_TEST(pem_read_takes_lines_of_any_end_and_length)
{
	char *s;
	const char *p;
	size_t n;

	s = malloc(2 * sizeof(csr));
	ck_assert_ptr_nonnull(s);
	for (n = 0, p = csr; *p != '\0'; p++) {
		if (*p == '\n')
			s[n++] = '\r';
		s[n++] = *p;
	}
	s[n] = '\0';
	csr_is(s);
	/* all base64 on one line, and no newline at the end */
	for (n = 0, p = csr; *p != '\0'; p++)
		if (*p != '\n' || p[1] == '-' || p[-1] == '-')
			s[n++] = *p;
	s[n - 1] = '\0';
	csr_is(s);
	free(s);
}
END_TEST

#define HEAD "-----BEGIN CERTIFICATE-----\n"
#define FOOT "-----END CERTIFICATE-----\n"

static const struct {
	const char *text, *sum;		/* of abc, ab, a: RFC 4648, FIPS 180 */
} padded[] = {
	{ HEAD "YWJj\n" FOOT, "BA:78:16:BF:" },
	{ HEAD "YWI=\n" FOOT, "FB:8E:20:FC:" },
	{ HEAD "YQ==\n" FOOT, "CA:97:81:12:" }
};

START_TEST(pem_read_knows_padding)
{
	struct pem p;

	ck_assert_int_eq(pem_read(&p, padded[_i].text, PEM_CERTIFICATE), 0);
	ck_assert_int_eq(strncmp(p.fingerprint, padded[_i].sum, 12), 0);
	ck_assert_uint_eq(strlen(p.fingerprint), 95);
	ck_assert(p.odd);
}
END_TEST

static const char *const no_pem[] = {
	"",
	"\n",
	"-----BEGIN CERTIFICATE-----",
	HEAD,
	HEAD "YWJj\n",
	HEAD "YWJj\n-----END CERTIFICATE----",
	HEAD "YWJj\n-----END CERTIFICATE REQUEST-----\n",
	"-----BEGIN CERTIFICATE REQUEST-----\nYWJj\n"
	    "-----END CERTIFICATE REQUEST-----\n",
	"-----BEGIN X CERTIFICATE-----\nYWJj\n-----END X CERTIFICATE-----\n",
	" " HEAD "YWJj\n" FOOT,
	FOOT "YWJj\n" HEAD,
	HEAD "YWJ\n" FOOT,
	HEAD "YWJjY\n" FOOT,
	HEAD "YW*j\n" FOOT,
	HEAD "YWI=YWJj\n" FOOT,
	HEAD "Y===\n" FOOT,
	HEAD "====\n" FOOT,
	HEAD "YWJj=\n" FOOT,
	HEAD FOOT,
	"-----BEGIN CERTIFICATE-----AAAA\nYWJj\n" FOOT,
	HEAD "YWJj\n-----END CERTIFICATE-----x\n",
	HEAD "Proc-Type: 4,ENCRYPTED\n" FOOT "\nYWJj\n",
	"YWJj"
};

START_TEST(pem_read_refuses_what_is_not_well_formed)
{
	struct pem p;

	ck_assert_int_eq(pem_read(&p, no_pem[_i], PEM_CERTIFICATE), -1);
}
END_TEST

START_TEST(pem_read_refuses_every_part_of_a_file)
{
	struct pem p;
	char s[sizeof(csr)];
	size_t n;

	for (n = 0; n < sizeof(csr) - 2; n++) {
		memcpy(s, csr, n);
		s[n] = '\0';
		ck_assert_int_eq(pem_read(&p, s, PEM_REQUEST), -1);
	}
}
END_TEST

/* An encrypted key is there; what it is cannot be told. */
START_TEST(an_encrypted_key_is_odd)
{
	struct pem p;

	ck_assert_int_eq(pem_read(&p, "-----BEGIN RSA PRIVATE KEY-----\n"
	    "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nYWJj\n"
	    "-----END RSA PRIVATE KEY-----\n", PEM_KEY), 0);
	ck_assert_int_eq(strncmp(p.fingerprint, "BA:78:16:BF:", 12), 0);
	ck_assert(p.odd);
	ck_assert_int_eq(pem_read(&p, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
	    "YWJj\n-----END ENCRYPTED PRIVATE KEY-----\n", PEM_KEY), 0);
	ck_assert(p.odd);
}
END_TEST

START_TEST(the_first_key_of_a_file_counts)
{
	struct pem p, first;
	size_t i, k;

	for (i = 0; i < sizeof(pair) / sizeof(pair[0]); i++)
		for (k = 0; k < sizeof(pair) / sizeof(pair[0]); k++) {
			ck_assert_int_eq(pem_read(&first, pair[i].key,
			    PEM_KEY), 0);
			ck_assert_int_eq(pem_read(&p, text("%s%s%s",
			    certificate, pair[i].key, pair[k].key),
			    PEM_KEY), 0);
			ck_assert_str_eq(p.fingerprint, first.fingerprint);
			ck_assert_int_eq(pem_pair(&p, &first), 1);
		}
}
END_TEST

/*
 * Files.
 */

struct loaded {
	const char *path;
	int rc;
	struct pem p;
};

static int
load(void *arg)
{
	struct loaded *l;
	int at;

	l = arg;
	at = path_dir(path("ssl"));
	if (at == -1)
		return 99;
	l->rc = pem_load(&l->p, at, l->path, PEM_CERTIFICATE);
	(void)close(at);
	if (l->rc == 1 && strncmp(l->p.serial, "07", 3) != 0)
		return 98;
	return l->rc == -1 ? 97 : l->rc;
}

/* Loads certs/x.pem; what must be said, where something must. */
static void
loads(int rc, const char *said)
{
	struct loaded l;
	const struct run *r;

	l.path = "certs/x.pem";
	r = run_function(load, &l);
	assert_status(r, rc == -1 ? 97 : rc);
	if (said == NULL)
		ck_assert_str_eq(r->err, "");
	else
		assert_has(r->err, said);
}

START_TEST(pem_load_tells_what_is_not_there_from_what_cannot_be_read)
{
	sh("mkdir s");
	sh("mkdir -p ssl/certs");
	loads(0, NULL);
	put("ssl/certs/x.pem", "");
	loads(0, NULL);
	put("ssl/certs/x.pem", text("%.300s", certificate));
	loads(0, NULL);
	put("ssl/certs/x.pem", certificate);
	loads(1, NULL);
	sh("head -c 65536 /dev/zero >>ssl/certs/x.pem");
	loads(-1, "cmregen: read certs/x.pem: File too large");
	sh("rm ssl/certs/x.pem; mkdir ssl/certs/x.pem");
	loads(-1, "cmregen: read certs/x.pem: ");
	sh("rmdir ssl/certs/x.pem; mkfifo ssl/certs/x.pem");
	loads(-1, "cmregen: read certs/x.pem: ");
	put("ssl/y", certificate);
	sh("ln -sf ../y ssl/certs/x.pem");
	loads(-1, "cmregen: read certs/x.pem: ");
	sh("mv ssl/certs ssl/c; ln -s c ssl/certs; mv ssl/y ssl/c/x.pem");
	loads(-1, "cmregen: read certs/x.pem: ");
}
END_TEST

/*
 * Keys.
 */

/* Whether a private key and a request or certificate are a pair. */
static int
paired(const char *key, const char *other, enum pem_kind kind)
{
	struct pem a, b;

	ck_assert_int_eq(pem_read(&a, key, PEM_KEY), 0);
	ck_assert_int_eq(pem_read(&b, other, kind), 0);
	ck_assert_int_eq(pem_pair(&a, &b), pem_pair(&b, &a));
	return pem_pair(&a, &b);
}

START_TEST(a_request_is_of_its_key_alone)
{
	size_t i, j;

	for (i = 0; i < sizeof(pair) / sizeof(pair[0]); i++) {
		for (j = 0; j < sizeof(pair) / sizeof(pair[0]); j++)
			ck_assert_int_eq(paired(pair[i].key, pair[j].request,
			    PEM_REQUEST), i == j);
		ck_assert_int_eq(paired(pair[i].key, certificate,
		    PEM_CERTIFICATE), i == CERTIFIED);
	}
}
END_TEST

#define SIX	"02{01}02{01}02{01}02{01}02{01}02{01}"
#define OTHERS	"30{06{2b6570}}"	/* Ed25519 */
#define OF_EC	"04{'d'}"

enum { ODD = 2 };		/* or what pem_pair says */

/* Private keys, and whether they are KEY_RSA's or KEY_EC's, see `other'. */
static const struct {
	const char *label, *der;
	int expected;
} key[] = {
	{ "RSA PRIVATE KEY", "30{02{00}" RSA SIX "}", 1 },
	{ "RSA PRIVATE KEY", "30{02{00}02{00c1020305}02{010001}" SIX "}", 0 },
	{ "RSA PRIVATE KEY", "30{02{00}02{00c1020304}02{010003}" SIX "}", 0 },
	{ "RSA PRIVATE KEY", "30{02{00}02{00c102}02{03040001}" SIX "}", 0 },
	{ "RSA PRIVATE KEY", "30{02{01}" RSA SIX "}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}" RSA SIX "30{}}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}" RSA SIX "02{01}}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}" RSA SIX "}00", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}" RSA "}", ODD },
	{ "RSA PRIVATE KEY", "30{" RSA SIX "}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}02{c1020304}02{010001}" SIX "}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}02{000102}02{010001}" SIX "}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}02{}02{010001}" SIX "}", ODD },
	{ "RSA PRIVATE KEY", "30{02{00}02{01}02{81}" SIX "}", ODD },
	{ "RSA PRIVATE KEY", "31{02{00}" RSA SIX "}", ODD },
	{ "PRIVATE KEY", "30{02{00}" ALG_RSA "04{30{02{00}" RSA SIX "}}}", 1 },
	{ "PRIVATE KEY", "30{02{01}" ALG_RSA "04{30{02{00}" RSA SIX "}}"
	    "a0{'attributes'}81{00 'public'}}", 1 },
	{ "PRIVATE KEY", "30{" ALG_RSA "04{30{02{00}" RSA SIX "}}}", ODD },
	{ "PRIVATE KEY", "30{02{ff}" ALG_RSA "04{30{02{00}" RSA SIX "}}}",
	    ODD },
	{ "PRIVATE KEY", "30{02{02}" ALG_RSA "04{30{02{00}" RSA SIX "}}}",
	    ODD },
	{ "PRIVATE KEY", "30{02{00}" ALG_RSA "04{30{02{00}" RSA SIX "}}00}",
	    ODD },
	{ "PRIVATE KEY", "30{02{00}" ALG_RSA "04{30{02{00}" RSA SIX "}}}00",
	    ODD },
	{ "PRIVATE KEY", "30{02{00}30{06{2a864886f70d010101}}04{30{02{00}"
	    RSA SIX "}}}", ODD },
	{ "PRIVATE KEY", "30{02{00}30{06{2a864886f70d010101}0501}"
	    "04{30{02{00}" RSA SIX "}}}", ODD },
	{ "PRIVATE KEY", "30{02{00}30{06{2a864886f70d010101}050000}"
	    "04{30{02{00}" RSA SIX "}}}", ODD },
	{ "PRIVATE KEY", "30{02{00}" ALG_RSA "30{02{00}" RSA SIX "}}", ODD },
	{ "PRIVATE KEY", "30{02{00}" OTHERS "04{04{'seed'}}}", -1 },
	{ "PRIVATE KEY", "30{02{00}" OTHERS "04{04{'seed'}}00}", ODD },
	{ "PRIVATE KEY", "30{02{00}30{}04{04{'seed'}}}", ODD },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}a1{" POINT "}}",
	    1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{06{2b81040022}}a1{" POINT
	    "}}", 0 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}"
	    "a1{03{00 04 'x'}}}", 0 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}}", -1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a1{" POINT "}}", -1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "}", -1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{30{02{01}}}a1{" POINT "}}",
	    -1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}"
	    "a1{03{00 03 'x'}}}", -1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}a1{03{00}}}", -1 },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}"
	    "a1{03{01 04 'x'}}}", ODD },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}a1{03{}}}", ODD },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}a1{" POINT "00}}",
	    ODD },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a1{" POINT "}a0{" CURVE "}}",
	    ODD },
	{ "EC PRIVATE KEY", "30{02{01}" OF_EC "a0{" CURVE "}a1{" POINT "}00}",
	    ODD },
	{ "EC PRIVATE KEY", "30{02{02}" OF_EC "a0{" CURVE "}a1{" POINT "}}",
	    ODD },
	{ "EC PRIVATE KEY", "30{02{0180}" OF_EC "a0{" CURVE "}a1{" POINT "}}",
	    ODD },
	{ "EC PRIVATE KEY", "30{02{0001}" OF_EC "a0{" CURVE "}a1{" POINT "}}",
	    ODD },
	{ "EC PRIVATE KEY", "30{02{01}a0{" CURVE "}a1{" POINT "}}", ODD },
	{ "PRIVATE KEY", "30{02{00}" ALG_EC "04{30{02{01}" OF_EC "a1{" POINT
	    "}}}}", 1 },
	{ "PRIVATE KEY", "30{02{00}" ALG_EC "04{30{02{01}" OF_EC "a0{" CURVE
	    "}a1{" POINT "}}}}", 1 },
	{ "PRIVATE KEY", "30{02{00}" ALG_EC "04{30{02{01}" OF_EC
	    "a0{06{2b81040022}}a1{" POINT "}}}}", ODD },
	{ "PRIVATE KEY", "30{02{00}" ALG_EC "04{30{02{01}" OF_EC "}}}", -1 },
	{ "PRIVATE KEY", "30{02{00}" ALG_EC "04{30{02{01}" OF_EC "}00}}",
	    ODD },
	{ "PRIVATE KEY", "30{02{00}30{06{2a8648ce3d0201}30{02{01}}}"
	    "04{30{02{01}" OF_EC "a1{" POINT "}}}}", -1 },
	{ "PRIVATE KEY", "30{02{00}30{06{2a8648ce3d0201}}04{30{02{01}" OF_EC
	    "a1{" POINT "}}}}", -1 }
};

START_TEST(keys_are_read_in_all_their_forms)
{
	static struct bytes b;
	struct pem p, c;
	int rsa;

	der_put(&b, key[_i].der);
	ck_assert_int_eq(pem_read(&p, block(key[_i].label, b.p, b.n), PEM_KEY),
	    0);
	ck_assert_int_eq(p.odd, key[_i].expected == ODD);
	rsa = strstr(key[_i].der, RSA) != NULL ||
	    strstr(key[_i].label, "RSA") != NULL;
	der_read(&c, PEM_CERTIFICATE, certificate_of("", "02{07}", TIME TIME,
	    rsa ? KEY_RSA : KEY_EC, ""));
	ck_assert(!c.odd);
	ck_assert_int_eq(pem_pair(&p, &c), key[_i].expected == ODD ? -1 :
	    key[_i].expected);
	/* never of the other kind */
	der_read(&c, PEM_CERTIFICATE, certificate_of("", "02{07}", TIME TIME,
	    rsa ? KEY_EC : KEY_RSA, ""));
	ck_assert_int_ne(pem_pair(&p, &c), 1);
}
END_TEST

/* Public keys of certificates, and what they are to the keys above. */
static const struct {
	const char *der;
	int expected;
} public[] = {
	{ KEY_RSA, 1 },
	{ KEY_EC, 1 },
	{ "30{" OTHERS "03{00 'key'}}", -1 },
	{ "30{" OTHERS "03{07 'key'}}", ODD },
	{ "30{" OTHERS "04{00 'key'}}", ODD },
	{ "30{" OTHERS "03{00 'key'}00}", ODD },
	{ "30{" OTHERS "03{}}", ODD },
	{ "30{30{}03{00 'key'}}", ODD },
	{ "30{03{00 'key'}}", ODD },
	{ "30{" ALG_RSA "03{00 30{" RSA "02{01}}}}", ODD },
	{ "30{" ALG_RSA "03{00 30{" RSA "}00}}", ODD },
	{ "30{" ALG_RSA "03{00 30{02{03}}}}", ODD },
	{ "30{" ALG_RSA "03{00 " RSA "}}", ODD },
	{ "30{30{06{2a864886f70d010101}0501 00}03{00 30{" RSA "}}}", ODD },
	{ "30{" ALG_EC "03{00 02 'x'}}", -1 },
	{ "30{" ALG_EC "03{00}}", -1 },
	{ "30{" ALG_EC "03{04 04 'x'}}", ODD },
	{ "30{30{06{2a8648ce3d0201}30{02{01}}}" POINT "}", -1 },
	{ "30{30{06{2a8648ce3d0201}0500}" POINT "}", -1 },
	{ "30{30{06{2a8648ce3d0201}}" POINT "}", -1 },
	{ "30{30{06{2a8648ce3d0201}" CURVE "00}" POINT "}", -1 }
};

START_TEST(public_keys_are_read_in_certificates_and_requests)
{
	struct pem k, c, r;

	der_read(&k, PEM_KEY, strstr(public[_i].der, RSA) == NULL ?
	    "30{02{00}" ALG_EC "04{30{02{01}" OF_EC "a1{" POINT "}}}}" :
	    "30{02{00}" ALG_RSA "04{30{02{00}" RSA SIX "}}}");
	der_read(&c, PEM_CERTIFICATE, certificate_of("", "02{07}", TIME TIME,
	    public[_i].der, ""));
	der_read(&r, PEM_REQUEST, request_of("02{00}", public[_i].der,
	    "a0{}"));
	ck_assert_int_eq(c.odd, public[_i].expected == ODD);
	ck_assert_int_eq(r.odd, public[_i].expected == ODD);
	ck_assert_int_eq(pem_pair(&k, &c), c.odd ? -1 : public[_i].expected);
	ck_assert_int_eq(pem_pair(&k, &r), c.odd ? -1 : public[_i].expected);
	ck_assert_int_eq(pem_pair(&c, &r), c.odd ? -1 : public[_i].expected);
}
END_TEST

/* A key of 8192 bits fits, one of 16384 is not compared, and not odd. */
START_TEST(a_key_that_does_not_fit_cannot_be_told)
{
	/* hex digits of a modulus; 10 bytes stand around it */
	static const int digits[] = {
		2048, 2 * (KEY_SIZE - 10), 2 * (KEY_SIZE - 10) + 2, 4096
	};
	struct pem c;
	int i;

	for (i = 0; i < 4; i++) {
		der_read(&c, PEM_CERTIFICATE, certificate_of("", "02{07}",
		    TIME TIME, text("30{" ALG_RSA "03{00 30{02{00 c1%0*d}"
		    "02{010001}}}}", digits[i] - 2, 1), ""));
		ck_assert(!c.odd);
		ck_assert_int_eq(pem_pair(&c, &c), i < 2 ? 1 : -1);
	}
}
END_TEST

/*
 * Certificates and requests.
 */

static const struct {
	const char *start, *serial, *validity, *rest;
	const char *shown, *end;	/* NULL: odd */
} frame[] = {
#define WHEN TIME TIME
#define EXTS "a3{30{}}"
	{ "", "02{07}", WHEN, "", "07", "2031-11-26 09:30:12 UTC" },
	{ "a0{02{01}}", "02{07}", WHEN, "", "07", "2031-11-26 09:30:12 UTC" },
	{ THIRD, "02{07}", WHEN, "", "07", "2031-11-26 09:30:12 UTC" },
	{ THIRD, "02{07}", WHEN, EXTS, "07", "2031-11-26 09:30:12 UTC" },
	{ THIRD, "02{07}", WHEN, "81{00 01}82{00 02}" EXTS, NULL, NULL },
	{ "", "02{07}", WHEN, EXTS, NULL, NULL },
	{ "a0{02{01}}", "02{07}", WHEN, EXTS, NULL, NULL },
	{ "a0{02{00}}", "02{07}", WHEN, "", NULL, NULL },
	{ "a0{02{03}}", "02{07}", WHEN, EXTS, NULL, NULL },
	{ "a0{02{02}00}", "02{07}", WHEN, EXTS, NULL, NULL },
	{ "a0{}", "02{07}", WHEN, EXTS, NULL, NULL },
	{ "02{02}", "02{07}", WHEN, EXTS, NULL, NULL },
	{ THIRD, "02{07}", WHEN, "a3{}", NULL, NULL },
	{ THIRD, "02{07}", WHEN, "a3{30{}00}", NULL, NULL },
	{ THIRD, "02{07}", WHEN, "a3{31{}}", NULL, NULL },
	{ THIRD, "02{07}", WHEN, EXTS "00", NULL, NULL },
	{ THIRD, "02{07}", WHEN, EXTS EXTS, NULL, NULL },
	{ THIRD, "02{07}", WHEN, "81{00 01}", NULL, NULL },
	{ THIRD, "02{07}", WHEN, "a4{}", NULL, NULL },
	{ "", "02{00}", WHEN, "", "00", "2031-11-26 09:30:12 UTC" },
	{ "", "02{0080}", WHEN, "", "80", "2031-11-26 09:30:12 UTC" },
	{ "", "02{00ABcdef0123456789}", WHEN, "", "ABCDEF0123456789",
	    "2031-11-26 09:30:12 UTC" },
	{ "", "02{7f'0123456789abcdef0123456789abcd'}", WHEN, "",
	    "7F303132333435363738396162636465663031323334353637383961626364",
	    "2031-11-26 09:30:12 UTC" },
	{ "", "02{7f'0123456789abcdef0123456789abcde'}", WHEN, "", NULL,
	    NULL },
	{ "", "02{}", WHEN, "", NULL, NULL },
	{ "", "02{80}", WHEN, "", NULL, NULL },
	{ "", "02{007f}", WHEN, "", NULL, NULL },
	{ "", "02{0000}", WHEN, "", NULL, NULL },
	{ "", "0a{07}", WHEN, "", NULL, NULL },
	{ "", "", WHEN, "", NULL, NULL },
	{ "", "02{07}", TIME "17{'500101000000Z'}", "", "07",
	    "1950-01-01 00:00:00 UTC" },
	{ "", "02{07}", TIME "17{'491231235959Z'}", "", "07",
	    "2049-12-31 23:59:59 UTC" },
	{ "", "02{07}", TIME "18{'99991231235959Z'}", "", "07",
	    "9999-12-31 23:59:59 UTC" },
	{ "", "02{07}", "18{'20501231235959Z'}" TIME, "", "07",
	    "2031-11-26 09:30:12 UTC" },
	{ "", "02{07}", "17{'311326093012Z'}" TIME, "", NULL, NULL },
	{ "", "02{07}", TIME, "", NULL, NULL },
	{ "", "02{07}", TIME TIME TIME, "", NULL, NULL },
	{ "", "02{07}", TIME "17{'310026093012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311326093012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311100093012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311132093012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311126243012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311126096012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311126093060Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'3111260930Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'311126093012+0000'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'3111260930121'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'31112609301-Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'31112609' 00 '012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{'20311126093012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "17{}", "", NULL, NULL },
	{ "", "02{07}", TIME "18{'311126093012Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "18{'20311126093012.5Z'}", "", NULL, NULL },
	{ "", "02{07}", TIME "19{'20311126093012Z'}", "", NULL, NULL }
};

START_TEST(certificates_have_a_serial_number_and_an_end)
{
	struct pem p;

	der_read(&p, PEM_CERTIFICATE, certificate_of(frame[_i].start,
	    frame[_i].serial, frame[_i].validity, KEY_EC, frame[_i].rest));
	ck_assert_int_eq(p.odd, frame[_i].shown == NULL);
	if (frame[_i].shown == NULL)
		return;
	ck_assert_str_eq(p.serial, frame[_i].shown);
	ck_assert_str_eq(p.end, frame[_i].end);
	ck_assert_str_eq(p.names, "");
	ck_assert_str_eq(p.extensions, "");
}
END_TEST

/* What is no certificate as a whole. */
static const char *const frameless[] = {
	"30", "30{}", "3080", "3080 0000", "02{07}",
	"30{30{02{07}}" SIGNED "03{00}}",
	"30{30{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED
	    "03{00}}00",
	"30{30{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED "03{00}"
	    "00}",
	"30{30{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED "}",
	"30{30{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED "03{}}",
	"30{30{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}03{00}}",
	"30{30{02{07}" SIGNED "30{}30{" WHEN "}30{}}" SIGNED "03{00}}",
	"30{30{02{07}30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED "03{00}}",
	"30{31{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED
	    "03{00}}",
	"31{30{02{07}" SIGNED "30{}30{" WHEN "}30{}" KEY_EC "}" SIGNED
	    "03{00}}"
};

START_TEST(what_is_no_certificate_is_odd)
{
	struct pem p;

	der_read(&p, PEM_CERTIFICATE, frameless[_i]);
	ck_assert(p.odd);
}
END_TEST

#define EXT_REQ	"06{2a864886f70d01090e}"
#define MS_REQ	"06{2b0601040182370201 0e}"
#define ASKED	"31{30{30{06{551d11}04{30{82{'puppet'}}}}}}"
#define OTHER	"30{06{2b06010401828c4c010302}31{13{'true'}}}"

static const struct {
	const char *start, *rest, *names;	/* NULL: odd */
} request[] = {
	{ "02{00}", "a0{}", "" },
	{ "02{00}", "a0{30{" EXT_REQ ASKED "}}", "DNS:puppet\n" },
	{ "02{00}", "a0{30{" MS_REQ ASKED "}}", "DNS:puppet\n" },
	{ "02{00}", "a0{" OTHER "30{" EXT_REQ ASKED "}}", "DNS:puppet\n" },
	{ "02{00}", "a0{30{" EXT_REQ ASKED "}" OTHER OTHER "}",
	    "DNS:puppet\n" },
	{ "02{00}", "a0{" OTHER "}", "" },
	{ "02{00}", "a0{30{" EXT_REQ "31{30{}}}}", "" },
	{ "02{00}", "a0{30{06{2a}31{}}}", "" },
	{ "02{00}", "", NULL },
	{ "02{00}", "a0{}00", NULL },
	{ "02{00}", "a0{}a0{}", NULL },
	{ "02{00}", "a1{}", NULL },
	{ "02{00}", "31{}", NULL },
	{ "02{01}", "a0{}", NULL },
	{ "02{02}", "a0{}", NULL },
	{ "02{0080}", "a0{}", NULL },
	{ "02{}", "a0{}", NULL },
	{ "", "a0{}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ ASKED "}30{" EXT_REQ ASKED "}}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ ASKED "}30{" MS_REQ ASKED "}}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ "31{30{}30{}}}}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ "31{}}}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ "30{}}}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ "}}", NULL },
	{ "02{00}", "a0{30{" EXT_REQ ASKED "00}}", NULL },
	{ "02{00}", "a0{30{31{}}}", NULL },
	{ "02{00}", "a0{30{}}", NULL },
	{ "02{00}", "a0{31{" EXT_REQ ASKED "}}", NULL },
	{ "02{00}", "a0{00}", NULL }
};

START_TEST(requests_ask_by_one_attribute)
{
	struct pem p;

	der_read(&p, PEM_REQUEST, request_of(request[_i].start, KEY_EC,
	    request[_i].rest));
	ck_assert_int_eq(p.odd, request[_i].names == NULL);
	if (request[_i].names == NULL)
		return;
	ck_assert_str_eq(p.names, request[_i].names);
	ck_assert_str_eq(p.serial, "");
	ck_assert_str_eq(p.end, "");
	ck_assert_str_eq(p.extensions, "");
}
END_TEST

/* A certificate is no request, and so on, whatever its label says. */
START_TEST(one_kind_is_not_another)
{
	const char *const der[] = {
		extended(PEM_CERTIFICATE, ""), extended(PEM_REQUEST, ""),
		"30{02{00}" ALG_RSA "04{30{02{00}" RSA SIX "}}}"
	};
	struct pem p;
	int i, k;

	for (i = PEM_CERTIFICATE; i <= PEM_KEY; i++)
		for (k = PEM_CERTIFICATE; k <= PEM_KEY; k++) {
			der_read(&p, (enum pem_kind)k, der[i]);
			ck_assert_int_eq(p.odd, i != k);
		}
}
END_TEST

/*
 * Names and extensions.
 */

#define NAMED(X) "30{06{551d11}04{30{" X "}}}"

static const struct {
	const char *der, *names;	/* NULL: odd */
} name[] = {
	{ NAMED(""), "" },
	{ NAMED("82{'puppet'}"), "DNS:puppet\n" },
	{ NAMED("82{'b'}82{'a'}82{'b'}"), "DNS:b\nDNS:a\nDNS:b\n" },
	{ NAMED("82{}"), "DNS:\n" },
	{ NAMED("82{' a '}"), "DNS: a \n" },
	{ NAMED("82{'~!'}"), "DNS:~!\n" },
	{ NAMED("82{'a' 0a 'DNS:b'}"), "DNS:a\\x0ADNS:b\n" },
	{ NAMED("82{'a\\x0ADNS:b'}"), "DNS:a\\x5Cx0ADNS:b\n" },
	{ NAMED("82{00 1f 7f 80 ff}"), "DNS:\\x00\\x1F\\x7F\\x80\\xFF\n" },
	{ NAMED("82{'a' c3a4}"), "DNS:a\\xC3\\xA4\n" },
	{ NAMED("87{0a000001}"), "IP:10.0.0.1\n" },
	{ NAMED("87{00000000}"), "IP:0.0.0.0\n" },
	{ NAMED("87{20010db8000000000000000000000001}"),
	    "IP:2001:db8::1\n" },
	{ NAMED("87{fe80000000000000020000fffeabcdef}"),
	    "IP:fe80::200:ff:feab:cdef\n" },
	{ NAMED("87{0a0000}"), "IP:0A0000\n" },
	{ NAMED("87{0a000001ffffff00}"), "IP:0A000001FFFFFF00\n" },
	{ NAMED("87{}"), "IP:\n" },
	{ NAMED("81{'root@x'}86{'https://x/?a=1'}"),
	    "email:root@x\nURI:https://x/?a=1\n" },
	{ NAMED("a0{06{2a03}a0{0c{'x'}}}"), "otherName:06022A03A0030C0178\n" },
	{ NAMED("a3{}a4{30{}}a5{00}88{2a0304}"),
	    "x400Address:\ndirName:3000\nediPartyName:00\nRID:2A0304\n" },
	{ "30{06{551d11}0101ff 04{30{82{'a'}}}}", "DNS:a\n" },
	{ "30{06{551d0f}0101ff 04{03{05a0}}}" NAMED("82{'a'}"), "DNS:a\n" },
	{ "30{06{551d12}04{30{82{'issuer'}}}}", "" },
	{ NAMED("82{'a'}") NAMED("82{'b'}"), NULL },
	{ NAMED("82{'a'}") NAMED(""), NULL },
	{ NAMED("80{}"), NULL },
	{ NAMED("83{}"), NULL },
	{ NAMED("84{}"), NULL },
	{ NAMED("85{}"), NULL },
	{ NAMED("89{}"), NULL },
	{ NAMED("a1{}"), NULL },
	{ NAMED("a2{'a'}"), NULL },
	{ NAMED("a6{}"), NULL },
	{ NAMED("a7{0a000001}"), NULL },
	{ NAMED("a8{}"), NULL },
	{ NAMED("a9{}"), NULL },
	{ NAMED("02{'a'}"), NULL },
	{ NAMED("9f02{'a'}"), NULL },
	{ NAMED("82"), NULL },
	{ NAMED("82 02 'a'"), NULL },
	{ NAMED("82 80 'a' 0000"), NULL },
	{ NAMED("82 81 01 'a'"), NULL },
	{ NAMED("82 81"), NULL },
	{ NAMED("82 82 00 01 'a'"), NULL },
	{ NAMED("82 82 01"), NULL },
	{ NAMED("82 83 000001 'a'"), NULL },
	{ NAMED("82 88 ffffffffffffffff 'a'"), NULL },
	{ NAMED("82 ff 'a'"), NULL },
	{ "30{06{551d11}04{}}", NULL },
	{ "30{06{551d11}04{82{'a'}}}", NULL },
	{ "30{06{551d11}04{30{82{'a'}}00}}", NULL },
	{ "30{06{551d11}04{31{82{'a'}}}}", NULL },
	{ "30{06{551d11}04{30{82{'a'}}}00}", NULL },
	{ "30{06{551d11}0101 00 04{30{}}}", NULL },
	{ "30{06{551d11}0101 01 04{30{}}}", NULL },
	{ "30{06{551d11}0102 ffff 04{30{}}}", NULL },
	{ "30{06{551d11}0100 04{30{}}}", NULL },
	{ "30{06{551d11}0101ff 0101ff 04{30{}}}", NULL },
	{ "30{06{551d11}03{30{}}}", NULL },
	{ "30{06{551d11}}", NULL },
	{ "30{04{30{}}}", NULL },
	{ "30{}", NULL },
	{ "31{06{551d11}04{30{}}}", NULL },
	{ "00", NULL }
};

START_TEST(names_are_lines)
{
	struct pem p;
	int kind;

	for (kind = PEM_CERTIFICATE; kind <= PEM_REQUEST; kind++) {
		der_read(&p, (enum pem_kind)kind,
		    extended((enum pem_kind)kind, name[_i].der));
		ck_assert_int_eq(p.odd, name[_i].names == NULL);
		ck_assert_str_eq(p.names, name[_i].names == NULL ? "" :
		    name[_i].names);
		ck_assert_str_eq(p.extensions, "");
	}
}
END_TEST

#define LABS	"2b06010401828c4c"
#define ROLE(X)	"30{06{" LABS "01010d}04{" X "}}"
#define ROLE2(X) "30{06{" LABS "01030d}04{" X "}}"
#define PP_ROLE	"1.3.6.1.4.1.34380.1.1.13 (pp_role)"

static const struct {
	const char *der, *lines;	/* NULL: odd */
} extension[] = {
	{ ROLE("0c{'web server'}"), PP_ROLE ": web server\n" },
	{ ROLE("0c{}"), PP_ROLE ": \n" },
	{ ROLE("0c{'a' 0a 1b 'b\\' c3a4}"),
	    PP_ROLE ": a\\x0A\\x1Bb\\x5C\\xC3\\xA4\n" },
	{ ROLE("13{'web'}"), PP_ROLE " PrintableString: web\n" },
	{ ROLE("16{'web'}"), PP_ROLE " IA5String: web\n" },
	{ ROLE("14{'web'}"), PP_ROLE " T61String: web\n" },
	{ ROLE("1a{'web'}"), PP_ROLE " VisibleString: web\n" },
	{ ROLE("12{'12'}"), PP_ROLE " NumericString: 12\n" },
	{ ROLE("1e{00 'w'}"), PP_ROLE " hex: 1E020077\n" },
	{ ROLE("1c{000000 'w'}"), PP_ROLE " hex: 1C0400000077\n" },
	{ ROLE("04{'w'}"), PP_ROLE " hex: 040177\n" },
	{ ROLE("02{05}"), PP_ROLE " hex: 020105\n" },
	{ ROLE("0101ff"), PP_ROLE " hex: 0101FF\n" },
	{ ROLE("'web'"), PP_ROLE " hex: 776562\n" },
	{ ROLE(""), PP_ROLE " hex: \n" },
	{ ROLE("0c{'w'}00"), PP_ROLE " hex: 0C017700\n" },
	{ ROLE("0c 8101 'w'"), PP_ROLE " hex: 0C810177\n" },
	{ ROLE("0c 02 'w'"), PP_ROLE " hex: 0C0277\n" },
	{ ROLE("2c{0c{'w'}}"), PP_ROLE " hex: 2C030C0177\n" },
	{ "30{06{" LABS "01010d}0101ff 04{0c{'w'}}}", PP_ROLE ": w\n" },
	{ "30{06{" LABS "010101}04{0c{'w'}}}" ROLE("0c{'x'}"),
	    "1.3.6.1.4.1.34380.1.1.1 (pp_uuid): w\n" PP_ROLE ": x\n" },
	{ "30{06{" LABS "01030d}04{0c{'w'}}}",
	    "1.3.6.1.4.1.34380.1.3.13 (pp_auth_role): w\n" },
	{ "30{06{" LABS "01011a}04{0c{'w'}}}",
	    "1.3.6.1.4.1.34380.1.1.26 (pp_owner): w\n" },
	{ "30{06{" LABS "01011b}04{0c{'w'}}}",
	    "1.3.6.1.4.1.34380.1.1.27: w\n" },
	{ "30{06{" LABS "01027f}04{13{'w'}}}",
	    "1.3.6.1.4.1.34380.1.2.127 PrintableString: w\n" },
	{ "30{06{" LABS "01028100}04{05{}}}",
	    "1.3.6.1.4.1.34380.1.2.128 hex: 0500\n" },
	{ "30{06{" LABS "}04{0c{'w'}}}", "1.3.6.1.4.1.34380: w\n" },
	{ "30{06{" LABS "00}04{0c{'w'}}}", "1.3.6.1.4.1.34380.0: w\n" },
	{ "30{06{" LABS "8fffffff7f}04{0c{'w'}}}",
	    "1.3.6.1.4.1.34380.4294967295: w\n" },
	/* 2 and 27 begin with the same digit */
	{ "30{06{" LABS "01011b}04{0c{'w'}}}30{06{" LABS "010102}04{0c{'w'}}}",
	    "1.3.6.1.4.1.34380.1.1.27: w\n"
	    "1.3.6.1.4.1.34380.1.1.2 (pp_instance_id): w\n" },
	/* somebody else's: 34381, 34380 cut short, and one that is no OID */
	{ "30{06{2b06010401828c4d 01}04{0c{'w'}}}", "" },
	{ "30{06{2b06010401828c}04{0c{'w'}}}", "" },
	{ "30{06{}04{0c{'w'}}}", "" },
	{ "30{06{" LABS "9080808000}04{0c{'w'}}}", NULL },
	{ "30{06{" LABS "ffffffffffffffff7f}04{0c{'w'}}}", NULL },
	{ "30{06{" LABS "8001}04{0c{'w'}}}", NULL },
	{ "30{06{" LABS "0180}04{0c{'w'}}}", NULL },
	{ "30{06{" LABS "81}04{0c{'w'}}}", NULL },
	{ ROLE("0c{'w'}") ROLE("0c{'w'}"), NULL },
	{ ROLE("0c{'w'}") ROLE("0c{'x'}"), NULL },
	{ ROLE("0c{'w'}") ROLE("13{'w'}"), NULL },
	{ ROLE("0c{'w'}") "30{06{" LABS "010101}04{0c{'w'}}}" ROLE(""), NULL },
	{ "30{06{" LABS "0102}04{0c{'w'}}}30{06{" LABS "0102}04{0c{'w'}}}",
	    NULL }
};

START_TEST(extensions_of_puppet_are_lines)
{
	struct pem p;
	int kind;

	for (kind = PEM_CERTIFICATE; kind <= PEM_REQUEST; kind++) {
		der_read(&p, (enum pem_kind)kind,
		    extended((enum pem_kind)kind, extension[_i].der));
		ck_assert_int_eq(p.odd, extension[_i].lines == NULL);
		ck_assert_str_eq(p.extensions, extension[_i].lines == NULL ?
		    "" : extension[_i].lines);
		ck_assert_str_eq(p.names, "");
	}
}
END_TEST

/* The last name that fits, and one byte more. */
START_TEST(a_list_that_does_not_fit_is_odd)
{
	static char many[NAMES_SIZE];
	struct pem p;
	int more;

	for (more = 0; more < 2; more++) {
		/* "DNS:" and a newline besides, and the final 0 */
		memset(many, 'n', sizeof(many));
		many[NAMES_SIZE - 6 + more] = '\0';
		der_read(&p, PEM_CERTIFICATE, extended(PEM_CERTIFICATE,
		    text(NAMED("82{'%s'}"), many)));
		ck_assert_int_eq(p.odd, more);
		if (more == 0)
			ck_assert_uint_eq(strlen(p.names), NAMES_SIZE - 1);
		many[NAMES_SIZE - 2 - strlen(PP_ROLE ": ") + more] = '\0';
		der_read(&p, PEM_CERTIFICATE, extended(PEM_CERTIFICATE,
		    text(ROLE("0c{'%s'}"), many)));
		ck_assert_int_eq(p.odd, more);
		if (more == 0)
			ck_assert_uint_eq(strlen(p.extensions),
			    NAMES_SIZE - 1);
	}
}
END_TEST

/* An OID of more numbers than its text has room for. */
START_TEST(an_oid_that_does_not_fit_is_odd)
{
	struct pem p;
	int more;

	for (more = 0; more < 2; more++) {
		/* 17 of the beginning, 2 for each: 255 with 119 */
		der_read(&p, PEM_CERTIFICATE, extended(PEM_CERTIFICATE,
		    text("30{06{" LABS "%0*d}04{0c{'w'}}}",
		    2 * (119 + more), 0)));
		ck_assert_int_eq(p.odd, more);
	}
}
END_TEST

/*
 * Damage.
 */

static const char many_things[] = NAMED("82{'puppet'}87{0a000001}"
    "87{20010db8000000000000000000000001}81{'a@b'}86{'x:'}a0{06{2a}a0{00}}")
    ROLE("0c{'web'}") "30{06{" LABS "01030d}0101ff 04{13{'a\\b'}}}";

static const char *const whole[] = {
	NULL, NULL, "30{02{00}" ALG_RSA "04{30{02{00}" RSA SIX "}}}",
	"30{02{00}" ALG_EC "04{30{02{01}" OF_EC "a0{" CURVE "}a1{" POINT
	    "}}}}"
};
enum { WHOLE = sizeof(whole) / sizeof(whole[0]) };

static enum pem_kind
whole_put(struct bytes *b, int i)
{
	enum pem_kind kind;

	kind = i < 2 ? (enum pem_kind)i : PEM_KEY;
	der_put(b, i < 2 ? extended(kind, many_things) : whole[i]);
	return kind;
}

START_TEST(every_part_is_odd)
{
	static struct bytes b;
	enum pem_kind kind;
	struct pem p;
	size_t n;

	kind = whole_put(&b, _i);
	bytes_read(&p, kind, b.p, b.n);
	ck_assert(!p.odd);
	for (n = 1; n < b.n; n++) {
		bytes_read(&p, kind, b.p, n);
		ck_assert(p.odd);
		bytes_read(&p, kind, b.p + n, b.n - n);
		ck_assert(p.odd);
	}
	b.p[b.n] = 0;
	bytes_read(&p, kind, b.p, b.n + 1);
	ck_assert(p.odd);
}
END_TEST

/* Where these bytes are in others. */
static size_t
place_of(const struct bytes *in, const unsigned char *p, size_t n)
{
	size_t i;

	for (i = 0; i + n <= in->n; i++)
		if (memcmp(in->p + i, p, n) == 0)
			return i;
	ck_abort_msg("not there");
}

/* Where the text says is, and how long: that of RSA or the curve, POINT. */
static void
spot(const struct bytes *in, const char *t, size_t *from, size_t *to)
{
	static struct bytes part;

	der_put(&part, t);
	*from = place_of(in, part.p, part.n);
	*to = *from + part.n;
}

/*
 * With any byte changed into any other, a block is odd, or it says something
 * else where that byte counts, and the same where not; never is it taken for
 * one of the key.
 */
START_TEST(every_byte_counts)
{
	static struct bytes b;
	static struct pem p, before;
	size_t i, from[4], to[4];
	enum pem_kind kind;
	int c, in, k;

	kind = whole_put(&b, _i);
	bytes_read(&before, kind, b.p, b.n);
	memset(from, 0, sizeof(from));
	memset(to, 0, sizeof(to));
	spot(&b, _i == 2 ? RSA : CURVE, &from[0], &to[0]);
	spot(&b, _i == 2 ? RSA : POINT, &from[1], &to[1]);
	if (_i < 2)
		spot(&b, many_things, &from[2], &to[2]);
	if (_i == PEM_REQUEST)
		spot(&b, EXT_REQ, &from[3], &to[3]);
	for (i = 0; i < b.n; i++) {
		for (in = -1, k = 0; k < 4; k++)
			if (i >= from[k] && i < to[k])
				in = k < 2 ? 1 : 2;
		for (c = 1; c < 256; c++) {
			b.p[i] ^= (unsigned char)c;
			bytes_read(&p, kind, b.p, b.n);
			b.p[i] ^= (unsigned char)c;
			ck_assert_str_ne(p.fingerprint, before.fingerprint);
			k = pem_pair(&p, &before);
			if (in == 1)
				ck_assert_int_ne(k, 1);
			else
				ck_assert_int_ne(k, 0);
			if (p.odd || k == -1)
				continue;
			if (in != 2) {
				ck_assert_str_eq(p.names, before.names);
				ck_assert_str_eq(p.extensions,
				    before.extensions);
			}
		}
	}
}
END_TEST

/*
 * Names and extensions with any byte changed are odd or other ones: nothing of
 * them is read past.  Only that they are critical, and the OIDs of others, may
 * change unseen.
 */
START_TEST(every_byte_of_a_name_counts)
{
	static const char only[] = NAMED("82{'puppet'}87{0a000001}"
	    "87{20010db8000000000000000000000001}81{'a@b'}86{'x:'}"
	    "a0{06{2a}a0{00}}") ROLE("0c{'web'}") ROLE2("13{'a\\b'}");
	static struct bytes b, part;
	static struct pem p, before;
	size_t i, from;
	int c;

	der_put(&b, extended(PEM_REQUEST, only));
	der_put(&part, only);
	from = place_of(&b, part.p, part.n);
	bytes_read(&before, PEM_REQUEST, b.p, b.n);
	for (i = from; i < from + part.n; i++)
		for (c = 1; c < 256; c++) {
			b.p[i] ^= (unsigned char)c;
			bytes_read(&p, PEM_REQUEST, b.p, b.n);
			b.p[i] ^= (unsigned char)c;
			ck_assert(p.odd || strcmp(p.names, before.names) != 0
			    || strcmp(p.extensions, before.extensions) != 0);
		}
}
END_TEST

/*
 * Lists.
 */

static char told[4096];

static void
take(char sign, const char *line)
{
	size_t n;

	n = strlen(told);
	(void)snprintf(told + n, sizeof(told) - n, "%c%s|", sign, line);
}

static const struct {
	const char *first, *second, *told;
	int count;
} lists[] = {
	{ "", "", "", 0 },
	{ "a\n", "a\n", "", 0 },
	{ "a\nb\n", "b\na\n", "", 0 },
	{ "a\na\n", "a\n", "", 0 },
	{ "a\n", "a\na\na\n", "", 0 },
	{ "a\n", "", "-a|", 1 },
	{ "", "a\n", "+a|", 1 },
	{ "a\n", "b\n", "-a|+b|", 2 },
	{ "b\na\nc\n", "c\ne\nd\n", "-b|-a|+e|+d|", 4 },
	{ "a\na\nb\na\n", "b\n", "-a|", 1 },
	{ "b\n", "a\nb\na\n", "+a|", 1 },
	{ "ab\n", "a\n", "-ab|+a|", 2 },
	{ "a\n", "ab\n", "-a|+ab|", 2 },
	{ "a", "a\n", "", 0 },
	{ "a\nb", "b\na", "", 0 },
	{ "a\nb", "a", "-b|", 1 },
	{ "\n\na\n\n", "a\n", "", 0 },
	{ "a", "\na\n\n", "", 0 },
	{ "ab", "b\nab", "+b|", 1 },
	{ "DNS:a\nIP:a\n", "IP:a\nDNS:A\n", "-DNS:a|+DNS:A|", 2 }
};

START_TEST(lists_are_compared_as_sets)
{
	told[0] = '\0';
	ck_assert_int_eq(lines_differ(lists[_i].first, lists[_i].second, take),
	    lists[_i].count);
	ck_assert_str_eq(told, lists[_i].told);
}
END_TEST

START_TEST(a_list_may_be_one_line)
{
	static char long_one[NAMES_SIZE];

	memset(long_one, 'a', sizeof(long_one) - 1);
	told[0] = '\0';
	ck_assert_int_eq(lines_differ(long_one, "", take), 1);
	ck_assert_uint_eq(strlen(told), sizeof(told) - 1);
	ck_assert_int_eq(lines_differ(long_one, long_one, take), 0);
	long_one[sizeof(long_one) - 2] = '\n';
	ck_assert_int_eq(lines_differ(long_one, long_one, take), 0);
}
END_TEST

static void
add_blocks(TCase *tc)
{
	tcase_add_test(tc, pem_read_is_what_openssl_says);
	tcase_add_test(tc, pem_read_takes_text_around_the_block);
	tcase_add_test(tc, pem_read_takes_lines_of_any_end_and_length);
	LOOP(pem_read_knows_padding, padded);
	LOOP(pem_read_refuses_what_is_not_well_formed, no_pem);
	tcase_add_test(tc, pem_read_refuses_every_part_of_a_file);
	tcase_add_test(tc, an_encrypted_key_is_odd);
	tcase_add_test(tc, the_first_key_of_a_file_counts);
	tcase_add_test(tc,
	    pem_load_tells_what_is_not_there_from_what_cannot_be_read);
}

static void
add_keys(TCase *tc)
{
	tcase_add_test(tc, a_request_is_of_its_key_alone);
	LOOP(keys_are_read_in_all_their_forms, key);
	LOOP(public_keys_are_read_in_certificates_and_requests, public);
	tcase_add_test(tc, a_key_that_does_not_fit_cannot_be_told);
}

static void
add_contents(TCase *tc)
{
	LOOP(certificates_have_a_serial_number_and_an_end, frame);
	LOOP(what_is_no_certificate_is_odd, frameless);
	LOOP(requests_ask_by_one_attribute, request);
	tcase_add_test(tc, one_kind_is_not_another);
	LOOP(names_are_lines, name);
	LOOP(extensions_of_puppet_are_lines, extension);
	tcase_add_test(tc, a_list_that_does_not_fit_is_odd);
	tcase_add_test(tc, an_oid_that_does_not_fit_is_odd);
}

static void
add_damage(TCase *tc)
{
	tcase_add_loop_test(tc, every_part_is_odd, 0, WHOLE);
	tcase_add_loop_test(tc, every_byte_counts, 0, WHOLE);
	tcase_add_test(tc, every_byte_of_a_name_counts);
}

static void
add_lists(TCase *tc)
{
	LOOP(lists_are_compared_as_sets, lists);
	tcase_add_test(tc, a_list_may_be_one_line);
}

int
main(void)
{
	static void (*const add[])(TCase *) = {
		add_blocks, add_keys, add_contents, add_damage, add_lists
	};
	static const char *const title[] = {
		"blocks", "keys", "what stands in them", "damage", "lists"
	};
	Suite *suite;
	TCase *tc;
	size_t i;

	suite = suite_create("pem");
	for (i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		tc = tcase_create(title[i]);
		tcase_add_checked_fixture(tc, fixture_begin, fixture_end);
		tcase_set_timeout(tc, 120);
		add[i](tc);
		suite_add_tcase(suite, tc);
	}
	return suite_run(suite);
}
