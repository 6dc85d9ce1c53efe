/* usage.c - read from /proc and the clocks; see usage.h. */
#include "usage.h"

#include "measure.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 4096

double usage_cpu_s(pid_t pid)
{
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        die("process %d has no CPU time to read", (int)pid);
    return (double)t.tv_sec + (double)t.tv_nsec / MEASURE_NS_PER_S;
}

void usage_memory(pid_t pid, double *rss_mb, double *private_mb)
{
    unsigned long kb;
    char path[32], line[128];
    FILE *file;

    *rss_mb = *private_mb = 0;
    if (pid == 0)
        (void)snprintf(path, sizeof path, "/proc/self/status");
    else
        (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %lu", &kb) == 1)
            *rss_mb = (double)kb * 1024 / 1e6;
        if (sscanf(line, "RssAnon: %lu", &kb) == 1)
            *private_mb = (double)kb * 1024 / 1e6;
    }
    if (file != NULL)
        (void)fclose(file);
}

/* ---- others ---- */

struct process {
    pid_t pid, parent;
    unsigned long ticks; /* its own, and of its children that are gone */
    bool ours;
};

/* @return false if it is gone. */
static bool read_process(const char *pid, struct process *out)
{
    unsigned long user, system;
    long gone_user, gone_system;
    char path[300], line[1024];
    const char *rest;
    FILE *file;
    bool read;
    int parent;

    (void)snprintf(path, sizeof path, "/proc/%s/stat", pid);
    file = fopen(path, "r");
    if (file == NULL)
        return false;
    read = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    rest = read ? strrchr(line, ')') : NULL; /* the name before it may hold anything */
    if (rest == NULL ||
        sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &parent,
               &user, &system, &gone_user, &gone_system) != 5)
        return false;
    *out = (struct process){.pid = (pid_t)strtol(pid, NULL, 10),
                            .parent = parent,
                            .ticks = user + system + (unsigned long)(gone_user + gone_system)};
    return true;
}

static size_t list_processes(struct process list[PROCESSES_MAX])
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;

    while (folder != NULL && count < PROCESSES_MAX && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            read_process(entry->d_name, &list[count]))
            count++;
    if (folder != NULL)
        (void)closedir(folder);
    return count;
}

/* Mark what comes from a process that is marked, until nothing new is found. */
static void spread(struct process *list, size_t count)
{
    bool found = true;

    while (found) {
        found = false;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count && !list[i].ours; j++)
                if (list[j].ours && list[j].pid == list[i].parent)
                    list[i].ours = found = true;
    }
}

static double own_cpu_s(void)
{
    static struct process list[PROCESSES_MAX];
    size_t count = list_processes(list);
    unsigned long ticks = 0;

    for (size_t i = 0; i < count; i++)
        list[i].ours = list[i].pid == getpid();
    spread(list, count);
    for (size_t i = 0; i < count; i++)
        if (list[i].ours)
            ticks += list[i].ticks;
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double busy_cpu_s(void)
{
    unsigned long long user, nice, system, irq, soft, steal;
    FILE *file = fopen("/proc/stat", "r");

    if (file == NULL || fscanf(file, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice,
                               &system, &irq, &soft, &steal) != 6)
        die("/proc/stat cannot be read");
    (void)fclose(file);
    return (double)(user + nice + system + irq + soft + steal) / (double)sysconf(_SC_CLK_TCK);
}

void usage_mark(struct usage_mark *out)
{
    *out = (struct usage_mark){.busy_s = busy_cpu_s(),
                               .own_s = own_cpu_s(),
                               .clock_s = (double)measure_now_ns() / MEASURE_NS_PER_S};
}

double usage_foreign(const struct usage_mark *since)
{
    struct usage_mark now;
    double foreign, all;

    usage_mark(&now);
    foreign = (now.busy_s - since->busy_s) - (now.own_s - since->own_s);
    all = (now.clock_s - since->clock_s) * (double)sysconf(_SC_NPROCESSORS_ONLN);
    return foreign > 0 && all > 0 ? foreign / all : 0;
}
