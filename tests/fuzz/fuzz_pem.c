/*
 * PEM files.  A first byte below the number of labels is that label, and the
 * rest is DER; the next number: two lists of lines, with a byte 255 between
 * them; else the whole is a text.
 */
#include <stdio.h>

#include "../../cmregen.h"
#include "fuzz.h"

static const struct {
	const char *label;
	enum pem_kind kind;
} form[] = {
	{ "CERTIFICATE", PEM_CERTIFICATE },
	{ "CERTIFICATE REQUEST", PEM_REQUEST },
	{ "PRIVATE KEY", PEM_KEY },
	{ "RSA PRIVATE KEY", PEM_KEY },
	{ "EC PRIVATE KEY", PEM_KEY }
};
enum { FORMS = sizeof form / sizeof form[0] };

/* The bytes as a block of that label. */
static char *
block(const char *label, const uint8_t *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text, *out;
	uint32_t word;
	size_t i, k;

	if ((text = malloc(4 * n / 3 + 100)) == NULL)
		abort();
	out = text + sprintf(text, "-----BEGIN %s-----\n", label);
	for (i = 0; i < n; i += 3) {
		word = (uint32_t)p[i] << 16;
		if (i + 1 < n)
			word |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < n)
			word |= p[i + 2];
		for (k = 0; k < 4; k++)
			*out++ = i + k > n ? '=' :
			    digits[word >> (18 - 6 * k) & 63];
	}
	(void)sprintf(out, "\n-----END %s-----\n", label);
	return text;
}

/* Every line is printable, ended, and begins with what may stand there. */
static void
lines_hold(const char *list, const char *const *begin)
{
	const char *const *b;
	size_t n;

	for (; *list != '\0'; list += n + 1) {
		for (n = 0; list[n] >= ' ' && list[n] <= '~'; n++)
			;
		HOLDS(list[n] == '\n');
		for (b = begin; strncmp(list, *b, strlen(*b)) != 0; b++)
			HOLDS(b[1] != NULL);
	}
}

static void
differs(char sign, const char *line)
{
	(void)sign;
	(void)line;
	abort();
}

static void
pem_holds(const struct pem *p, enum pem_kind kind)
{
	static const char *const kinds[] = {
		"otherName:", "email:", "DNS:", "x400Address:", "dirName:",
		"ediPartyName:", "URI:", "IP:", "RID:", NULL
	};
	static const char *const oid[] = { "1.3.6.1.4.1.34380", NULL };
	int whole;

	HOLDS(strlen(p->fingerprint) == 95);
	HOLDS(fingerprint_ok(p->fingerprint));
	whole = kind == PEM_CERTIFICATE && !p->odd;
	HOLDS(strlen(p->end) == (whole ? 23 : 0));
	HOLDS((p->serial[0] != '\0') == whole);
	HOLDS(strspn(p->serial, "0123456789ABCDEF") == strlen(p->serial));
	HOLDS(p->key_size <= sizeof p->key);
	HOLDS(pem_pair(p, p) == (p->key_size > 0 ? 1 : -1));
	HOLDS(!p->odd || p->key_size == 0);
	if (p->odd || kind == PEM_KEY) {
		HOLDS(p->names[0] == '\0');
		HOLDS(p->extensions[0] == '\0');
	}
	lines_hold(p->names, kinds);
	lines_hold(p->extensions, oid);
	HOLDS(lines_differ(p->names, p->names, differs) == 0);
}

static int lost, gained;

static void
count(char sign, const char *line)
{
	HOLDS(strchr(line, '\n') == NULL && line[0] != '\0');
	if (sign == '-')
		lost++;
	else
		gained++;
}

/* Compares two lists, each in memory of exactly its size, both ways. */
static void
lists_hold(const uint8_t *data, size_t size)
{
	const uint8_t *middle;
	char *a, *b;
	int before[2];

	if (size == 0 || (middle = memchr(data, 255, size)) == NULL)
		return;
	a = text_of(data, (size_t)(middle - data));
	b = text_of(middle + 1, (size_t)(data + size - middle - 1));
	lost = gained = 0;
	HOLDS(lines_differ(a, b, count) == lost + gained);
	before[0] = lost;
	before[1] = gained;
	lost = gained = 0;
	HOLDS(lines_differ(b, a, count) == lost + gained);
	HOLDS(before[0] == gained && before[1] == lost);
	HOLDS(lines_differ(a, a, differs) == 0);
	free(a);
	free(b);
}

/* Reads a text.  Returns 0 where there is such a block. */
static int
try(const char *text, enum pem_kind kind)
{
	struct pem *p;
	int rc;

	if ((p = malloc(sizeof *p)) == NULL)
		abort();
	rc = pem_read(p, text, kind);
	if (rc == 0) {
		HOLDS(strstr(text, "-----BEGIN ") != NULL);
		pem_holds(p, kind);
	}
	free(p);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size > 1 && data[0] < FORMS) {
		text = block(form[data[0]].label, data + 1, size - 1);
		HOLDS(try(text, form[data[0]].kind) == 0);
	} else {
		if (size > 0 && data[0] == FORMS)
			lists_hold(data + 1, size - 1);
		text = text_of(data, size);
		(void)try(text, PEM_CERTIFICATE);
		(void)try(text, PEM_REQUEST);
		(void)try(text, PEM_KEY);
	}
	free(text);
	return 0;
}
