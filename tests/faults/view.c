/*
 * view.c: see view.h.
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "view.h"

#define NODE "cm1.example.com"

enum { KNOWN = 4096 };

const char *const service_name[SERVICES] = {
	"puppet", "pe-puppetserver", "puppetserver", "mcollective",
	"pxp-agent"
};

static struct {
	uint64_t sum;
	char id[PLACE_ID];
} known[KNOWN];

static uint64_t
sum(const char *text)
{
	uint64_t h;

	for (h = 14695981039346656037U; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211U;
	return h | 1;
}

/* Asks openssl, by the way of a shell: this is a test. */
static void
ask(const char *what, const char *name, char id[PLACE_ID])
{
	static const char *const how[][2] = {
		{ "key", "openssl pkey -pubout" },
		{ "certificate", "openssl x509 -noout -pubkey" },
		{ "request", "openssl req -noout -pubkey" },
		{ "fingerprint", "openssl req -outform DER" },
	};
	size_t i;
	FILE *f;

	for (i = 0; strcmp(how[i][0], what) != 0; i++)
		continue;
	id[0] = '\0';
	f = popen(path("%s -in '%s' 2>/dev/null | sha256sum | "
	    "grep -v ^e3b0c44298fc1c14", how[i][1], name), "re");
	if (f == NULL)
		die("openssl");
	if (fgets(id, PLACE_ID, f) != NULL)
		id[strcspn(id, " \n")] = '\0';
	(void)pclose(f);
}

void
public_key(const char *what, const char *name, char id[PLACE_ID])
{
	char *text;
	uint64_t h;
	size_t i;

	id[0] = '\0';
	text = slurp(name);
	if (text[0] == '\0') {
		free(text);
		return;
	}
	h = sum(text) ^ sum(what) << 1;
	free(text);
	for (i = h % KNOWN; known[i].sum != 0; i = (i + 1) % KNOWN)
		if (known[i].sum == h) {
			(void)strcpy(id, known[i].id);
			return;
		}
	ask(what, name, id);
	known[i].sum = h;
	(void)strcpy(known[i].id, id);
}

static void
keys(struct view *v, enum tree t, const char *top)
{
	public_key("key", path("%s/private_keys/" NODE ".pem", top),
	    v->key[t]);
	public_key("certificate", path("%s/certs/" NODE ".pem", top),
	    v->certificate[t]);
}

/* The mode of something of root's; -1 where it is not there. */
static int
mode_of(const char *name)
{
	struct stat st;

	if (lstat(name, &st) == -1)
		return -1;
	return st.st_uid != 0 ? 0 : (int)st.st_mode;
}

static void
services(struct view *v, const struct place *p)
{
	char *text;
	int i;

	for (i = 0; i < SERVICES; i++) {
		text = slurp(path("%s/node/services/%s", p->dir,
		    service_name[i]));
		v->runs |= (strncmp(text, "running", 7) == 0) << i;
		v->enabled |= (strstr(text, " true") != NULL) << i;
		free(text);
	}
}

static void
trees(struct view *v, const char *puppet)
{
	const char *top[TREES];
	int t;

	top[SSL] = path("%s/ssl", puppet);
	top[NEXT] = path("%s/ssl.cmregen/next", puppet);
	top[OLD] = path("%s/ssl.cmregen/old", puppet);
	top[BAK] = v->backup;
	top[BAK_GONE] = path("%s.cmregen-gone", v->backup);
	for (t = 0; t < TREES; t++) {
		v->tree[t] = digest(top[t], 0);
		keys(v, t, top[t]);
	}
	public_key("request", path("%s/certificate_requests/" NODE ".pem",
	    top[NEXT]), v->request);
	public_key("fingerprint", path("%s/certificate_requests/" NODE ".pem",
	    top[NEXT]), v->fingerprint);
}

/* The stick, the catalogs, and what the MoM has. */
static void
others(struct view *v, const struct place *p)
{
	const char *mom;
	char *text;

	v->all = join(digest(path("%s/node/puppet", p->dir), DIGEST_LOCK),
	    digest(path("%s/usb", p->dir), DIGEST_LOCK));
	v->services = digest(path("%s/node/services", p->dir), 0);
	text = digest(path("%s/node/cache/client_data", p->dir), 0);
	v->catalogs = without(text, "/" NODE ".json");
	v->has_catalog = strcmp(text, v->catalogs) != 0;
	free(text);
	mom = path("%s/mom", p->dir);
	public_key("request", path("%s/ca/requests/" NODE ".pem", mom),
	    v->ca_request);
	public_key("certificate", path("%s/ca/signed/" NODE ".pem", mom),
	    v->ca_certificate);
	v->revoked = access(path("%s/ca/revoked." NODE, mom), F_OK) == 0;
}

void
view_take(struct view *v, const struct place *p, const char *backup)
{
	const char *puppet;

	(void)memset(v, 0, sizeof(*v));
	puppet = path("%s/node/puppet", p->dir);
	v->where = where_is(puppet, &v->journal);
	(void)snprintf(v->usual, sizeof(v->usual), "%s",
	    v->journal.backup[0] != '\0' ? v->journal.backup :
	    path("%s/ssl_bak", puppet));
	v->lost = access(v->usual, F_OK) == -1 &&
	    access(path("%s.cmregen-gone", v->usual), F_OK) == -1;
	if (backup == NULL)
		backup = v->usual;
	(void)snprintf(v->backup, sizeof(v->backup), "%s", backup);
	trees(v, puppet);
	services(v, p);
	others(v, p);
	v->work_mode = mode_of(path("%s/ssl.cmregen", puppet));
	v->journal_mode = mode_of(path("%s/ssl.cmregen/journal", puppet));
}

void
view_free(struct view *v)
{
	int t;

	for (t = 0; t < TREES; t++)
		free(v->tree[t]);
	free(v->all);
	free(v->services);
	free(v->catalogs);
	(void)memset(v, 0, sizeof(*v));
}

int
view_has(const struct view *v, enum tree t)
{
	return strcmp(v->tree[t], "absent\n") != 0;
}

int
view_same(const struct view *a, enum tree t, const struct view *b, enum tree u)
{
	return view_has(a, t) && strcmp(a->tree[t], b->tree[u]) == 0;
}

int
view_pair(const struct view *v, enum tree t)
{
	return v->key[t][0] != '\0' &&
	    strcmp(v->key[t], v->certificate[t]) == 0;
}

const char *
difference(const char *was, const char *is)
{
	const char *i, *b;

	for (i = is, b = was; *i == *b && *i != '\0'; i++, b++)
		;
	while (i > is && i[-1] != '\n') {
		i--;
		b--;
	}
	return path("was '%.*s', is '%.*s'", (int)strcspn(b, "\n"), b,
	    (int)strcspn(i, "\n"), i);
}

static int
is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

const char *
view_broken(const struct view *v, const char *original, const char *kept)
{
	if (v->where == FOREIGN)
		return path("journal '%s', next %d, old %d: not of our making",
		    v->journal.last, view_has(v, NEXT), view_has(v, OLD));
	if (v->where != IDLE && v->where != DONE && original != NULL &&
	    !is(original, v->tree[SSL]) && !is(original, v->tree[OLD]))
		return path("%s: what was in ssl is neither there nor in old",
		    where_name[v->where]);
	if (v->where == STAGED && v->key[NEXT][0] == '\0')
		return "staged: next has no key";
	if (v->where == RESTORING && kept != NULL && !is(kept, v->tree[NEXT]))
		return path("restoring: next, a copy of the backup: %s",
		    difference(kept, v->tree[NEXT]));
	if (kept != NULL && !is(kept, v->tree[BAK]) &&
	    !is(kept, v->tree[BAK_GONE]) && (original == NULL ||
	    !is(original, v->tree[BAK])))
		return path("the backup: %s", difference(kept, v->tree[BAK]));
	if (v->work_mode != -1 && v->work_mode != (S_IFDIR | 0700) &&
	    v->work_mode != (S_IFDIR | 0711))
		return path("the work directory has mode %o", v->work_mode);
	if (v->journal_mode != -1 && v->journal_mode != (S_IFREG | 0600))
		return path("the journal has mode %o", v->journal_mode);
	return NULL;
}
