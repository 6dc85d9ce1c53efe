/* powercut.h - what a test has to know of powercut.c. */
#ifndef POWERCUT_H
#define POWERCUT_H

#define POWERCUT_EXIT    42            /* the exit code of a process whose power went */
#define POWERCUT_LIBRARY "powercut.so" /* in the build's folder */

#endif
