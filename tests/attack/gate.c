/*
 * gate: stands before the stand-in for puppet where whole commands are
 * attacked.  Puppet is root and follows every link that the owner of ssl has
 * made, as it does every half an hour; what only puppet touches is no finding.
 * So it is shown an empty directory in the place of `outside', and ended
 * where a fifo holds it.
 *
 * It is called as BASE/sb/node/bin/puppet (or puppetserver); the stand-in is
 * in real/ beside bin/, what is outside in BASE.
 */
#define _GNU_SOURCE
#include <sys/mount.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE = 1 };		/* seconds */

int
main(int argc, char *argv[])
{
	char empty[1024], outside[1024], real[1024];
	const char *bin, *sb;

	(void)argc;
	bin = strstr(argv[0], "/bin/");
	sb = strstr(argv[0], "/sb/");
	if (bin == NULL || sb == NULL)
		return 126;
	(void)snprintf(outside, sizeof(outside), "%.*s/outside",
	    (int)(sb - argv[0]), argv[0]);
	(void)snprintf(empty, sizeof(empty), "%.*s/empty",
	    (int)(sb - argv[0]), argv[0]);
	(void)snprintf(real, sizeof(real), "%.*s/real/%s",
	    (int)(bin - argv[0]), argv[0], bin + 5);
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount(empty, outside, NULL, MS_BIND, NULL) == -1)
		return 126;
	(void)alarm(PATIENCE);
	argv[0] = real;
	(void)execv(real, argv);
	return 126;
}
