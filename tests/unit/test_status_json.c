/* test_status_json.c - the status socket's bodies on a job that has no socket. */
#include "../../daemon/json_text.h"
#include "../../daemon/status_json.h"

#include "../../proto/error.h"
#include "../lib/test.h"

#include <lmdb.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INSTANCES  40
#define BATCH_SIZE 8
#define CREDIT     3

/* ---- a data set, a job, a trainer ---------------------------------------------------------------
 */

/* In key order: bytes that cannot be read, plain text, and text with a character of two bytes. */
static size_t make_key(int i, char key[16])
{
    const char *prefix = i == 0 ? "\x01\xff" : i == INSTANCES - 1 ? "z\xc3\xa4" : "k";

    return (size_t)snprintf(key, 16, "%s%02d", prefix, i);
}

static struct dataset *open_dataset(void)
{
    struct dataset *d;
    struct reason why;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    (void)mkdir("data", 0700); /* there already when all cases run in one process */
    assert_int_equal(0, mdb_env_create(&env));
    assert_int_equal(0, mdb_env_open(env, "data", 0, 0600));
    assert_int_equal(0, mdb_txn_begin(env, NULL, 0, &txn));
    assert_int_equal(0, mdb_dbi_open(txn, NULL, 0, &dbi));
    for (int i = 0; i < INSTANCES; i++) {
        char key[16];
        MDB_val k = {make_key(i, key), key};
        MDB_val v = {5, (char[]){"12345"}};

        assert_int_equal(0, mdb_put(txn, dbi, &k, &v, 0));
    }
    assert_int_equal(0, mdb_txn_commit(txn));
    mdb_env_close(env);
    assert_int_equal(0, dataset_open("data", "", false, &d, &why, NULL, NULL));
    return d;
}

static struct job *make_job(void)
{
    struct job_settings settings = {
        .name = "run",
        .dataset = {.instance_count = INSTANCES, .record_bytes = 5, .record_bytes_max = 5},
        .seed = UINT64_MAX,
        .lambda = 0.5,
        .sampler = SAMPLER_POLICY_DEFAULT,
        .selection = SELECTION_POLICY_DEFAULT,
        .batch_size = BATCH_SIZE,
        .credit = CREDIT,
        .lease_ms = 1000,
        .late_ms = 1000,
    };
    struct reason why;
    struct job *j;

    assert_int_equal(0, job_new(&settings, &j, &why));
    return j;
}

static struct session *join(struct job *j, uint32_t number, const char *agent)
{
    struct message_hello hello = {.rank = number, .batch_size = BATCH_SIZE, .credit = CREDIT};
    struct reason why;
    struct session *s;

    (void)snprintf(hello.agent, sizeof hello.agent, "%s", agent);
    memcpy(hello.key.bytes, &number, sizeof number);
    assert_int_equal(0, job_join(j, &hello, number, number, 100, &s, &why));
    return s;
}

/* Draw a batch and report losses made of the ids. */
static void train(struct job *j, struct session *s, float factor)
{
    struct lease *l = job_draw(j, s, 100);
    float losses[BATCH_SIZE];
    struct message_loss loss = {.token = l->token, .seq = 1, .losses = {losses, l->count}};
    struct job_outcome outcome;
    struct reason why;

    for (uint32_t i = 0; i < l->count; i++)
        losses[i] = factor * (float)l->ids[i];
    loss.key = s->key;
    assert_int_equal(0, job_report(j, s, &loss, &outcome, &why));
    assert_int_equal(0, job_release(j, s, loss.token, &why));
}

static void end(struct job *j)
{
    while (!TAILQ_EMPTY(&j->sessions))
        job_leave(j, TAILQ_FIRST(&j->sessions));
    job_free(j);
}

static json_int_t integer_at(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* ---- the cases ----------------------------------------------------------------------------------
 */

static void numbers_agree_with_the_engine(void **state)
{
    struct job *j = make_job();
    struct session *s = join(j, 7, "trainer");
    const json_t *sessions, *epochs, *report;
    json_t *body;

    (void)state;
    for (int i = 0; i < 30; i++)
        train(j, s, 1);
    (void)job_draw(j, s, 100);
    body = status_json_job(j, "faces", 350);
    assert_string_equal("faces", json_string_value(json_object_get(body, "dataset")));
    assert_int_equal(INSTANCES, integer_at(body, "instance_count"));
    assert_int_equal(j->step, integer_at(body, "step"));
    assert_int_equal(30, integer_at(body, "lsn"));
    assert_int_equal(j->hardness.partition.count, integer_at(body, "scored_count"));
    assert_int_equal(1, integer_at(json_object_get(body, "leases"), "open"));
    report = json_object_get(json_object_get(body, "last_report"), "kept");
    assert_int_equal(BATCH_SIZE / 2, integer_at(report, "count"));
    epochs = json_object_get(body, "epochs");
    assert_int_equal(j->coverage.closed_count, integer_at(epochs, "closed_count"));
    assert_true(json_array_size(json_object_get(epochs, "closed")) > 0);
    assert_int_equal(j->coverage.open_count, json_array_size(json_object_get(epochs, "open")));
    sessions = json_object_get(body, "sessions");
    assert_int_equal(1, json_array_size(sessions));
    assert_int_equal(1, integer_at(json_array_get(sessions, 0), "held"));
    assert_int_equal(7, integer_at(json_array_get(sessions, 0), "rank"));
    assert_int_equal(250, integer_at(json_array_get(sessions, 0), "idle_ms"));
    json_decref(body);
    end(j);
}

static void every_counter_is_there_under_its_name(void **state)
{
    static const char *const names[] = {
#define NAME(name, text) #name,
        METRICS_JOB(NAME)
#undef NAME
    };
    struct job *j = make_job();
    json_t *body = status_json_job(j, "faces", 0);
    const json_t *counters = json_object_get(body, "counters");

    (void)state;
    assert_int_equal(sizeof names / sizeof names[0], json_object_size(counters));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(0, integer_at(counters, names[i]));
    json_decref(body);
    end(j);
}

static void epochs_are_listed_oldest_first_and_only_the_last_eight(void **state)
{
    struct job *j = make_job();
    struct session *s = join(j, 1, "");
    json_t *body;
    const json_t *closed;

    (void)state;
    while (j->coverage.closed_count < 11)
        train(j, s, 1);
    body = status_json_job(j, "faces", 0);
    closed = json_object_get(json_object_get(body, "epochs"), "closed");
    assert_int_equal(STATUS_EPOCHS_MAX, json_array_size(closed));
    for (size_t i = 0; i < STATUS_EPOCHS_MAX; i++)
        assert_int_equal(3 + i, integer_at(json_array_get(closed, i), "epoch"));
    json_decref(body);
    end(j);
}

static void at_most_256_sessions_are_listed_and_all_are_counted(void **state)
{
    struct job *j = make_job();
    json_t *body;

    (void)state;
    for (uint32_t i = 1; i <= STATUS_SESSIONS_MAX + 5; i++)
        (void)join(j, i, "many");
    body = status_json_job(j, "faces", 0);
    assert_int_equal(STATUS_SESSIONS_MAX, json_array_size(json_object_get(body, "sessions")));
    assert_int_equal(STATUS_SESSIONS_MAX + 5, integer_at(body, "session_count"));
    json_decref(body);
    end(j);
}

static void a_number_that_json_cannot_hold_becomes_null(void **state)
{
    struct job *j = make_job();
    json_t *body;
    const json_t *all;

    (void)state;
    j->last_all = (struct loss_stats){.count = 1, .mean = NAN, .min = -INFINITY, .max = 1};
    body = status_json_job(j, "faces", 0);
    all = json_object_get(json_object_get(body, "last_report"), "all");
    assert_true(json_is_null(json_object_get(all, "mean")));
    assert_true(json_is_null(json_object_get(all, "min")));
    assert_true(json_is_real(json_object_get(all, "max")));
    json_decref(body);
    end(j);
}

static void a_seed_of_64_bits_is_given_exactly(void **state)
{
    struct job *j = make_job();
    json_t *body = status_json_job(j, "faces", 0);
    const json_t *settings = json_object_get(body, "settings");

    (void)state;
    assert_string_equal("18446744073709551615",
                        json_string_value(json_object_get(settings, "seed")));
    json_decref(body);
    end(j);
}

static void text_of_others_is_made_printable(void **state)
{
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"", ""},
        {"trainer 1", "trainer 1"},
        {"\x1b[31mred\x7f", "?[31mred?"},
        {"gr\xc3\xbcn", "gr\xc3\xbcn"},
        {"c1 \xc2\x9b end", "c1 ?? end"},
        {"not utf-8 \xff\xc3", "not utf-8 ??"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value = json_text(cases[i].given);

        assert_string_equal(cases[i].expected, json_string_value(value));
        json_decref(value);
    }
}

static void the_histogram_holds_every_scored_instance_once(void **state)
{
    struct job *j = make_job();
    struct session *s = join(j, 1, "");
    json_int_t sum = 0;
    double last = -1;
    json_t *body;
    const json_t *bucket;
    size_t i;

    (void)state;
    for (int batch = 0; batch < 5; batch++)
        train(j, s, 1000);
    body = status_json_hardness(j);
    json_array_foreach (json_object_get(body, "buckets"), i, bucket) {
        double floor_score = json_real_value(json_object_get(bucket, "floor"));

        assert_true(floor_score > last);
        assert_true(integer_at(bucket, "count") > 0);
        sum += integer_at(bucket, "count");
        last = floor_score;
        /* the hardest go beyond the last edge: it has no end */
        if (floor_score > 3500)
            assert_true(json_is_null(json_object_get(bucket, "ceiling")));
    }
    assert_true(last > 3500);
    assert_int_equal(sum, integer_at(body, "scored_count"));
    assert_int_equal(INSTANCES, sum + integer_at(body, "unscored_count"));
    assert_int_equal(7, json_object_size(json_object_get(body, "quantiles")));
    json_decref(body);
    end(j);
}

static void a_key_is_text_if_it_can_be_read_and_else_hexadecimal(void **state)
{
    struct dataset *d = open_dataset();
    struct job *j = make_job();
    json_t *bytes = status_json_instance(j, d, 0);
    json_t *plain = status_json_instance(j, d, 1);
    json_t *accented = status_json_instance(j, d, INSTANCES - 1);

    (void)state;
    assert_string_equal("01ff3030", json_string_value(json_object_get(bytes, "key_hex")));
    assert_null(json_object_get(bytes, "key"));
    assert_string_equal("k01", json_string_value(json_object_get(plain, "key")));
    assert_null(json_object_get(plain, "key_hex"));
    assert_string_equal("z\xc3\xa4"
                        "39",
                        json_string_value(json_object_get(accented, "key")));
    json_decref(bytes);
    json_decref(plain);
    json_decref(accented);
    end(j);
    dataset_close(d);
}

static void the_hardest_come_first_with_their_story(void **state)
{
    struct dataset *d = open_dataset();
    struct job *j = make_job();
    struct session *s = join(j, 1, "");
    const json_t *first;
    json_t *list;

    (void)state;
    while (j->hardness.partition.count < INSTANCES)
        train(j, s, 0.5f);
    list = status_json_hardest(j, d, 3);
    assert_int_equal(3, json_array_size(list));
    first = json_array_get(list, 0);
    assert_int_equal(INSTANCES - 1, integer_at(first, "id"));
    assert_true(json_is_true(json_object_get(first, "scored")));
    assert_true(json_real_value(json_object_get(first, "score")) == 0.5 * (INSTANCES - 1));
    assert_true(integer_at(first, "visits") >= 1);
    assert_int_equal(5, integer_at(first, "record_bytes"));
    assert_int_equal(INSTANCES - 3, integer_at(json_array_get(list, 2), "id"));
    json_decref(list);
    end(j);
    dataset_close(d);
}

/* ---- without memory -----------------------------------------------------------------------------
 */

static size_t left;  /* allocations until the one that fails; 0: none fails */
static size_t alive; /* blocks not yet freed */

static void *limited_malloc(size_t size)
{
    void *memory;

    if (left > 0 && --left == 0)
        return NULL;
    memory = malloc(size);
    alive += memory != NULL;
    return memory;
}

static void limited_free(void *memory)
{
    alive -= memory != NULL;
    free(memory);
}

/* Fail jansson's first allocation, its second and so on, until the body is whole. */
static void a_body_without_memory_is_null_and_leaks_nothing(void **state)
{
    struct job *j = make_job();
    struct session *s = join(j, 1, "agent");
    json_t *body;
    size_t failures = 0;
    bool reached;

    (void)state;
    for (int i = 0; i < 6; i++)
        train(j, s, 1);
    json_set_alloc_funcs(limited_malloc, limited_free);
    for (size_t nth = 1;; nth++) {
        left = nth;
        body = status_json_job(j, "faces", 0);
        reached = left == 0;
        failures += body == NULL;
        if (!reached)
            break;
        json_decref(body); /* a text is tried twice: one failure may be survived */
        assert_int_equal(0, alive);
    }
    assert_non_null(body);
    assert_true(failures > 100);
    left = 0;
    json_decref(body);
    assert_int_equal(0, alive);
    json_set_alloc_funcs(malloc, free);
    end(j);
}

TEST_MAIN(TEST(numbers_agree_with_the_engine), TEST(every_counter_is_there_under_its_name),
          TEST(epochs_are_listed_oldest_first_and_only_the_last_eight),
          TEST(at_most_256_sessions_are_listed_and_all_are_counted),
          TEST(a_number_that_json_cannot_hold_becomes_null),
          TEST(a_seed_of_64_bits_is_given_exactly), TEST(text_of_others_is_made_printable),
          TEST(the_histogram_holds_every_scored_instance_once),
          TEST(a_key_is_text_if_it_can_be_read_and_else_hexadecimal),
          TEST(the_hardest_come_first_with_their_story),
          TEST(a_body_without_memory_is_null_and_leaks_nothing))
