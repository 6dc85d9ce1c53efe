/* space.h - a file system without any. */
#ifndef SPACE_H
#define SPACE_H

/** Fill the file system that a folder lies on, by the file `filler` in it. */
void space_take_all(const char *dir);

#endif
