/*
 * banned.h - forced into every file: functions that have no safe use become errors.
 */
#ifndef CORE_LIB_BANNED_H
#define CORE_LIB_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Some C libraries have macros of these names. */
#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strtok
#undef gets
#undef atoi
#undef atol

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets system popen localtime gmtime atoi atol

#endif
