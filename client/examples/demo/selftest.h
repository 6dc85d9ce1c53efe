/* selftest.h - the demo's own parts, checked without a daemon. */
#ifndef SELFTEST_H
#define SELFTEST_H

/** @return 0, or -1 after saying on stderr what differs */
int selftest_metrics(void);
int selftest_gradient(void);
int selftest_ascii(void);

#endif
