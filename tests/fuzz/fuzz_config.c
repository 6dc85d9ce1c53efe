/* fuzz_config.c - any bytes as a configuration file: read or refused with a line, never worse.
 *
 * What is accepted must also print as a file that reads to the same, unless a path that was made
 * absolute has outgrown a line.
 */
#include "../../daemon/config.h"
#include "../../proto/error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_BYTES_MAX 198

/* Read bytes as a file. @return as config_read(), or config_check() after it. */
static int read_bytes(const void *data, size_t size, struct config *c)
{
    struct reason why = {""};
    int fd = memfd_create("fuzz", MFD_CLOEXEC), rc;
    char path[64];

    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert(config_init(c, &why) == 0);
    rc = config_read(c, path, &why);
    if (rc == 0)
        rc = config_check(c, &why);
    assert((rc == 0) == (why.text[0] == '\0'));
    assert(strpbrk(why.text, "\n\r\x1b") == NULL);
    (void)close(fd);
    return rc;
}

static char *print_text(const struct config *c, size_t *out_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, out_size);

    assert(out != NULL);
    config_print(c, out);
    (void)fclose(out);
    return text;
}

static bool has_long_line(const char *text)
{
    for (size_t size; *text != '\0'; text += size + 1) {
        size = strcspn(text, "\n");
        if (size > LINE_BYTES_MAX)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c, again;
    size_t first_size, second_size;
    char *first, *second;

    if (read_bytes(data, size, &c) == 0) {
        first = print_text(&c, &first_size);
        if (!has_long_line(first)) {
            assert(read_bytes(first, first_size, &again) == 0);
            second = print_text(&again, &second_size);
            assert(strcmp(first, second) == 0);
            free(second);
            config_deinit(&again);
        }
        free(first);
    }
    config_deinit(&c);
    return 0;
}
