/* rows.h - the results: rows of quantities, and ratios beside their goals.
 *
 * Each round of the bench adds a value; what is shown is the median with the smallest and the
 * largest, so that a noisy machine shows as one. A ratio is made within a round, from values
 * measured a moment apart. Names are literals, or live as long as the program.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdbool.h>

/* What is measured of one way to get batches: name here, name in the JSON. */
#define ROW_METRICS(X) \
    X(INSTANCES, "instances_per_s") \
    X(MEGABYTES, "mb_per_s") \
    X(CPU, "cpu_us_per_instance") \
    X(CPU_SERVER, "server_cpu_us_per_instance") \
    X(CPU_CLIENT, "client_cpu_us_per_instance") \
    X(FIRST, "first_batch_ms") \
    X(NEXT_P50, "next_p50_us") \
    X(NEXT_P99, "next_p99_us") \
    X(REPORT_P50, "report_p50_us") \
    X(REPORT_P99, "report_p99_us") \
    X(SERVER_RSS, "server_rss_mb") \
    X(SERVER_PRIVATE, "server_private_mb") \
    X(CLIENT_RSS, "client_rss_mb") \
    X(CLIENT_PRIVATE, "client_private_mb") \
    X(AGE_MEAN, "age_mean") \
    X(AGE_MAX, "age_max") \
    X(DRAW, "draw_share") \
    X(GATHER, "gather_share") \
    X(SEND, "send_share") \
    X(RECEIVE, "receive_share") \
    X(VALUE, "value") /* of a row that is one quantity */

enum row_metric {
#define ROW_METRIC_ENUM(name, key) ROW_##name,
    ROW_METRICS(ROW_METRIC_ENUM)
#undef ROW_METRIC_ENUM
        ROW_METRIC_COUNT
};

/** Add a round's value to the row of that name and unit, which is made when it is new. */
void row_add(const char *name, const char *unit, double value);

/** The same for one metric of a way to get batches of a workload, with so many clients. */
void row_add_metric(const char *workload, const char *name, int clients, enum row_metric metric,
                    double value);

/** The same for a ratio that is one number, and for one that has a number for each part, as "w1".
 */
void ratio_add(const char *name, double value);
void ratio_add_part(const char *name, const char *part, double value);

/** A line for the end of the table and the JSON's "notes". */
void rows_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Print all rows in the order in which they came. */
void rows_print(void);

/** Write {"machine", "rows", "ratios", "ratio_details", "notes"} to a file. */
void rows_write(const char *path, bool quick);

#endif
