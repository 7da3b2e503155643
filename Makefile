.POSIX:

# The program needs a compiler and make, nothing else.  What the targets below
# "The tests" need, `sh tests/setup' installs.

CC = cc
CFLAGS = -Os -fno-asynchronous-unwind-tables
LDFLAGS = -static -Wl,-z,noseparate-code
PREFIX = /usr/local
DESTDIR =

VERSION = 1.0
STANDARD = -std=c99 -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=700
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
    -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
    -Wwrite-strings -Wformat=2 -Wno-format-nonliteral -Wundef -Wvla
SOURCES = cmregen.c mom.c node.c
OBJECTS = cmregen.o mom.o node.o
SUITES = check_cmregen check_tree check_mom check_node check_late
CHECKLIBS = -lcheck -lsubunit -pthread -lrt -lm

all: cmregen

cmregen: $(OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJECTS)

$(OBJECTS): cmregen.h

.SUFFIXES: .c .o
.c.o:
	$(CC) $(STANDARD) $(WARN) $(CFLAGS) -c $<

install: cmregen
	mkdir -p $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man1
	cp cmregen $(DESTDIR)$(PREFIX)/sbin/cmregen
	chmod 755 $(DESTDIR)$(PREFIX)/sbin/cmregen
	cp cmregen.1 $(DESTDIR)$(PREFIX)/share/man/man1/cmregen.1
	chmod 644 $(DESTDIR)$(PREFIX)/share/man/man1/cmregen.1

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/cmregen
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/cmregen.1

# A whole regeneration and the way back, in a throw-away sandbox.  Needs root.
demo: cmregen
	sh tests/demo ./cmregen

dist:
	mkdir -p dist/cmregen-$(VERSION)
	cp -R $(SOURCES) cmregen.h cmregen.1 Makefile README.md LICENSE tests \
	    dist/cmregen-$(VERSION)
	rm -rf dist/cmregen-$(VERSION)/tests/build
	cd dist && tar cf cmregen-$(VERSION).tar cmregen-$(VERSION)
	rm -rf dist/cmregen-$(VERSION)

clean:
	rm -rf cmregen $(OBJECTS) dist release tests/build

# The tests.  They need root: the program does.

check: cmregen
	mkdir -p tests/build
	for f in cmregen mom node; do \
	    $(CC) $(STANDARD) -g -O1 -Dmain=cmregen_main -c $$f.c \
	    -o tests/build/$$f.o || exit 1; done
	ar -rc tests/build/program.a tests/build/cmregen.o \
	    tests/build/mom.o tests/build/node.o
	for s in $(SUITES); do \
	    $(CC) $(STANDARD) -g -O1 -o tests/build/$$s tests/unit/$$s.c \
	    tests/unit/fixture.c tests/build/program.a $(CHECKLIBS) || exit 1; done
	sh tests/unit/check_usage ./cmregen
	for s in $(SUITES); do \
	    { TESTS=$$PWD/tests CK_MAX_MSG_SIZE=65536 tests/build/$$s >tests/build/$$s.log 2>&1 && \
	    echo 0 >tests/build/$$s.rc || echo 1 >tests/build/$$s.rc; } & \
	    done; wait; bad=0; for s in $(SUITES); do \
	    cat tests/build/$$s.log; \
	    [ "$$(cat tests/build/$$s.rc)" = 0 ] || bad=1; done; exit $$bad

lint:
	sh tests/lint

faults:
	sh tests/faults/run full

bench:
	sh tests/bench/run

coverage:
	sh tests/unit/coverage

release:
	sh tests/release $(VERSION)

.PHONY: all install uninstall demo dist clean check lint faults bench \
    coverage release
