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

# The tests, which need root, as the program does; tests/README.md tells what
# each proves.  `make check' is for everyone, .ci/run what is run on each
# submission, and what follows here the long forms.

check: cmregen
	@CC="$(CC)" sh tests/unit/run

lint:
	sh tests/lint

coverage:
	sh tests/unit/coverage

sanitize:
	sh tests/unit/sanitize

fuzz:
	sh tests/fuzz/run 600

faults:
	sh tests/faults/cells
	sh tests/faults/run full
	sh tests/faults/walks 10000
	sh tests/faults/powercut full
	sh tests/faults/mutants full

attack:
	sh tests/attack/run
	sh tests/attack/siege

sweeps: faults attack fuzz sanitize

bench:
	sh tests/bench/run

real:
	tests/real/run

fresh:
	tests/fresh

release:
	sh tests/release $(VERSION)

.PHONY: all install uninstall demo dist clean check lint coverage sanitize \
    fuzz faults attack sweeps bench real fresh release
