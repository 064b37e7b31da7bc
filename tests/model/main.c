/* tests/model/main.c - runs the models that are linked in:  model [--deepen] [--list] [PART OF A NAME]...
 *
 * Each model is searched through within its bounds and then, with no bounds, at random (WEIR_TEST_PERCENT of the
 * number it states; WEIR_TEST_SEED).  --deepen is for code that is expected to fail: small bounds first, so that the
 * failure comes soon and is short, and wider ones as long as a search takes few executions; nothing at random.
 * Exit 0; 1 if a model failed; 2 if the explorer was used wrongly. */
#include "search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXECUTIONS_MAX UINT64_C(50000000) /* of one search; a model that needs more has bounds too wide */
#define EXECUTIONS_FEW UINT64_C(3000)

struct options {
    bool deepen;
    uint64_t seed;
    unsigned percent;
};

static struct model *models;

void model_add(struct model *model)
{
    struct model **at = &models;
    while (*at != NULL && strcmp((*at)->name, model->name) < 0)
        at = &(*at)->next;
    model->next = *at;
    *at = model;
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

/* Wider and wider, up to the model's bounds, as long as the last search was short. */
static bool fails_within_few(const struct model *model)
{
    for (unsigned sum = 0; sum <= model->preemptions + model->stale; sum++) {
        uint64_t most = 0;
        for (unsigned stale = 0; stale <= sum && stale <= model->stale; stale++) {
            if (sum - stale > model->preemptions)
                continue;
            struct search_result some = search_all(model, sum - stale, stale, EXECUTIONS_MAX);
            if (some.failed)
                return true;
            most = some.executions > most ? some.executions : most;
        }
        if (most > EXECUTIONS_FEW)
            break;
    }
    return false;
}

/* What is wrong with a search in which nothing failed; NULL: nothing. */
static const char *complaint(const struct model *model, const struct search_result *all)
{
    if (!all->exhausted)
        return "the bounds are too wide to be searched through";
    if (all->executions == 0)
        return "not one execution";
    if ((model->must_reach & ~all->reached) != 0)
        return "it never came to some of the marks that it must reach";
    return NULL;
}

/* Adds to *executions; false if the model failed. */
static bool run(const struct model *model, const struct options *options, uint64_t *executions)
{
    double start = now_seconds();
    if (options->deepen)
        return !fails_within_few(model);
    struct search_result all = search_all(model, model->preemptions, model->stale, EXECUTIONS_MAX);
    *executions += all.executions;
    if (all.failed)
        return false;
    if (model->must_fail != NULL) {
        printf("%-40s %s: %s\n", model->name, all.failed_as_it_must ? "fails, as it must" : "FAILED to fail",
               model->must_fail);
        return all.failed_as_it_must;
    }
    const char *wrong = complaint(model, &all);
    if (wrong != NULL) {
        printf("FAILED %s: %s (reached 0x%x of 0x%x)\n", model->name, wrong, all.reached, model->must_reach);
        return false;
    }
    uint64_t count = (uint64_t)model->random * options->percent / 100;
    struct search_result random = search_random(model, options->seed, count);
    *executions += random.executions;
    if (random.failed) {
        printf("  at random, WEIR_TEST_SEED=%" PRIu64 "\n", options->seed);
        return false;
    }
    printf("%-40s %9" PRIu64 " within %u preemptions, %u old values, %u kills; %7" PRIu64 " at random; %5.1f s\n",
           model->name, all.executions, model->preemptions, model->stale, model->kills, random.executions,
           now_seconds() - start);
    fflush(stdout);
    return true;
}

static bool is_named(const struct model *model, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strstr(model->name, names[i]) != NULL)
            return true;
    return count == 0;
}

int main(int argc, char **argv)
{
    struct options options = {
        .seed = number_from("WEIR_TEST_SEED", (uint64_t)time(NULL)),
        .percent = (unsigned)number_from("WEIR_TEST_PERCENT", 100),
    };
    bool list = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        options.deepen |= strcmp(argv[at], "--deepen") == 0;
        list |= strcmp(argv[at], "--list") == 0;
    }
    unsigned harnesses = 0, failures = 0;
    uint64_t executions = 0;
    if (!list && !options.deepen)
        printf("WEIR_TEST_SEED=%" PRIu64 "\n", options.seed);
    for (const struct model *model = models; model != NULL; model = model->next) {
        if (!is_named(model, argv + at, argc - at))
            continue;
        harnesses++;
        if (list)
            printf("%s\n", model->name);
        else if (!run(model, &options, &executions))
            failures++;
        if (options.deepen && failures != 0)
            break;
    }
    if (list)
        return 0;
    printf("model: harnesses=%u executions=%" PRIu64 " failures=%u\n", harnesses, executions, failures);
    return failures != 0 || harnesses == 0 || (executions == 0 && !options.deepen) ? 1 : 0;
}
