.POSIX:

# A compiler and make are all that is needed; Check is for "make check" alone.
CC = cc
CFLAGS = -Os -fno-asynchronous-unwind-tables
LDFLAGS = -static -Wl,-z,noseparate-code
PREFIX = /usr/local
DESTDIR =

VERSION = 1.0
STANDARD = -std=c99 -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=700
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
    -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
    -Wwrite-strings -Wformat=2 -Wundef -Wvla
OBJECTS = cmregen.o mom.o node.o

all: cmregen

cmregen: $(OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJECTS)

cmregen.o mom.o node.o: cmregen.h

.SUFFIXES: .c .o
.c.o:
	$(CC) $(STANDARD) $(WARN) $(CFLAGS) -c $<

clean:
	rm -f cmregen $(OBJECTS)
