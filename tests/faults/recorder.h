/*
 * recorder.h: the record of what a file system asked of its disk.
 */
#ifndef RECORDER_H
#define RECORDER_H

#include <stdint.h>

enum { RECORD_WRITE = 1, RECORD_FLUSH = 2 };

struct record {			/* followed by length bytes */
	uint64_t kind, offset, length;
};

#endif
