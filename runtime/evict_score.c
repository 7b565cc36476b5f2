/* SPDX-License-Identifier: MIT */
#include "runtime/evict_score.h"

#include "runtime/lanes.h"

#include <math.h>
#include <string.h>

#define LEAST_REMAINDER 1e-6 /* of the other slots' weights, as a share of all */
#define POOL            2    /* neighbours on either side that a vote is averaged with */

/* --- attention weights --- */

/* cap * tanh(s / cap), with tanh(|y|) = (1 - e) / (1 + e), e = exp(-2 |y|). */
static void cap_scores(float cap, uint32_t count, float *scores, float *scratch)
{
    for (uint32_t j = 0; j < count; j++)
        scratch[j] = -2 * fabsf(scores[j] / cap);
    rt_exponentials(scratch, count, 0, 1, scratch);
    for (uint32_t j = 0; j < count; j++)
        scores[j] = copysignf(cap * (1 - scratch[j]) / (1 + scratch[j]), scores[j]);
}

/* Of scores in place; those of slots that the layer's window hides become 0. */
static void softmax(const tandem_cache_info *info, uint32_t count, float *scratch, float *weights)
{
    if (info->softcap > 0)
        cap_scores(info->softcap, count, weights, scratch);
    const uint32_t hidden =
        info->window > 0 && count > (uint64_t)info->window ? count - (uint32_t)info->window : 0;
    for (uint32_t j = 0; j < hidden; j++)
        weights[j] = -INFINITY;
    const double sum = rt_exponentials(weights, count, rt_largest(weights, count), 1, weights);
    const float share = sum > 0 ? (float)(1 / sum) : 0;
    for (uint32_t j = 0; j < count; j++)
        weights[j] *= share;
}

void rt_attention_weights(const rt_head *head, uint32_t group, const float *queries, uint32_t count,
                          float *scratch, float *weights)
{
    const tandem_cache_info *info = head->info;
    const uint32_t size = info->head_size;
    float keys[RT_MOST_HEAD * RT_PANEL];
    for (uint32_t panel = 0; panel * RT_PANEL < count; panel++) {
        rt_head_keys(head, panel, keys);
        for (uint32_t g = 0; g < group; g++)
            rt_panel_products(queries + (uint64_t)g * size, keys, size, info->scale,
                              weights + (uint64_t)g * head->slots + (uint64_t)panel * RT_PANEL);
    }
    for (uint32_t g = 0; g < group; g++)
        softmax(info, count, scratch, weights + (uint64_t)g * head->slots);
}

/* --- base policies --- */

/* The attention that slots received so far. */
static uint32_t weigh_sums(const rt_scoring *scoring)
{
    for (uint32_t g = 0; g < scoring->group; g++) {
        const uint64_t row = (uint64_t)g * scoring->head.slots;
        memcpy(scoring->weights + row, scoring->sums + row, scoring->count * sizeof(float));
    }
    return scoring->group;
}

/* Queries of the token that was committed `age` tokens before the newest. */
static const float *queries_of(const rt_scoring *scoring, uint32_t age)
{
    const uint32_t place = (scoring->newest + scoring->observed - age) % scoring->observed;
    return scoring->queries + place * scoring->query_stride;
}

/* The attention of the newest token. */
static uint32_t weigh_newest(const rt_scoring *scoring)
{
    rt_attention_weights(&scoring->head, scoring->group, queries_of(scoring, 0), scoring->count,
                         scoring->scores, scoring->weights);
    return scoring->group;
}

/* Mean over each slot and its neighbours among the first `count`, in place. */
static void pool_votes(float *votes, uint32_t count)
{
    float before[POOL] = {0}; /* votes of the slots before j, as they were */
    for (uint32_t j = 0; j < count; j++) {
        const uint32_t first = j < POOL ? 0 : j - POOL;
        const uint32_t last = j + POOL < count ? j + POOL : count - 1;
        float sum = 0;
        for (uint32_t i = first; i < j; i++)
            sum += before[i % POOL];
        for (uint32_t i = j; i <= last; i++)
            sum += votes[i];
        before[j % POOL] = votes[j];
        votes[j] = sum / (float)(last - first + 1);
    }
}

/* Votes of the newest tokens, of each for the slots that it saw, pooled in logical order over the
 * slots before them. */
static uint32_t weigh_votes(const rt_scoring *scoring)
{
    const uint32_t slots = scoring->head.slots, count = scoring->count;
    float *votes = scoring->weights; /* of one token each time in scoring->votes */
    for (uint32_t g = 0; g < scoring->group; g++)
        memset(votes + (uint64_t)g * slots, 0, count * sizeof *votes);
    for (uint32_t age = scoring->window; age-- > 0;) {
        const uint32_t seen = count - age;
        rt_attention_weights(&scoring->head, scoring->group, queries_of(scoring, age), seen,
                             scoring->scores, scoring->votes);
        for (uint32_t g = 0; g < scoring->group; g++)
            for (uint32_t j = 0; j < seen; j++)
                votes[(uint64_t)g * slots + j] += scoring->votes[(uint64_t)g * slots + j];
    }
    for (uint32_t g = 0; g < scoring->group; g++)
        pool_votes(votes + (uint64_t)g * slots, count - scoring->window);
    return scoring->group;
}

/* Lengths of the keys of a panel. */
static void panel_lengths(const float *keys, uint32_t size, float *lengths)
{
    for (uint32_t lane = 0; lane < RT_PANEL; lane++)
        lengths[lane] = 0;
    for (uint32_t i = 0; i < size; i++)
        for (uint32_t lane = 0; lane < RT_PANEL; lane++)
            lengths[lane] += keys[i * RT_PANEL + lane] * keys[i * RT_PANEL + lane];
    for (uint32_t lane = 0; lane < RT_PANEL; lane++)
        lengths[lane] = sqrtf(lengths[lane]);
}

static uint32_t lanes_of(uint32_t count, uint32_t panel)
{
    return count - panel * RT_PANEL < RT_PANEL ? count - panel * RT_PANEL : RT_PANEL;
}

/* The direction of the mean of all keys, each made one long. */
static void mean_key(const rt_scoring *scoring, float *keys, float *mean)
{
    const uint32_t size = scoring->head.info->head_size;
    float lengths[RT_PANEL];
    double square = 0, sums[RT_MOST_HEAD] = {0};
    for (uint32_t panel = 0; panel * RT_PANEL < scoring->count; panel++) {
        rt_head_keys(&scoring->head, panel, keys);
        panel_lengths(keys, size, lengths);
        for (uint32_t i = 0; i < size; i++)
            for (uint32_t lane = 0; lane < lanes_of(scoring->count, panel); lane++)
                if (lengths[lane] > 0)
                    sums[i] += (double)(keys[i * RT_PANEL + lane] / lengths[lane]);
    }
    for (uint32_t i = 0; i < size; i++)
        square += sums[i] * sums[i];
    for (uint32_t i = 0; i < size; i++)
        mean[i] = square > 0 ? (float)(sums[i] / sqrt(square)) : 0;
}

/* How far each key is from the mean key's direction: (1 - cos) / 2. */
static uint32_t weigh_difference(const rt_scoring *scoring)
{
    const uint32_t size = scoring->head.info->head_size;
    float keys[RT_MOST_HEAD * RT_PANEL], mean[RT_MOST_HEAD], lengths[RT_PANEL];
    mean_key(scoring, keys, mean);
    for (uint32_t panel = 0; panel * RT_PANEL < scoring->count; panel++) {
        float *weights = scoring->weights + (uint64_t)panel * RT_PANEL;
        rt_head_keys(&scoring->head, panel, keys);
        panel_lengths(keys, size, lengths);
        rt_panel_products(mean, keys, size, 1, weights);
        for (uint32_t lane = 0; lane < RT_PANEL; lane++) {
            const float cosine = lengths[lane] > 0 ? weights[lane] / lengths[lane] : 0;
            weights[lane] = cosine < 1 ? (1 - cosine) / 2 : 0;
        }
    }
    return 1;
}

const rt_evict_policy rt_evict_policies[] = {
    {"none", {0}, NULL, "a full cache ends the text"},
    {"recent", {.drops = true}, NULL, "the oldest but the sinks"},
    {"h2o",
     {.drops = true, .sums = true, .scores = true},
     weigh_sums,
     "least attention received so far"},
    {"tova",
     {.drops = true, .observed = 1, .scores = true},
     weigh_newest,
     "least attention of the newest token"},
    {"snapkv",
     {.drops = true, .observed = RT_EVICT_WINDOW, .scores = true},
     weigh_votes,
     "least attention of the newest tokens, averaged over neighbours"},
    {"keydiff", {.drops = true, .scores = true}, weigh_difference, "keys most like the mean key"},
    {NULL, {0}, NULL, NULL},
};

/* --- CAOTE --- */

#define LANES 8

static double square_distance(const double *output, const float *value, uint32_t size)
{
    double lanes[LANES] = {0};
    for (uint32_t i = 0; i < size; i++) {
        const double difference = output[i] - (double)value[i];
        lanes[i % LANES] += difference * difference;
    }
    for (uint32_t half = LANES / 2; half > 0; half /= 2)
        for (uint32_t i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* The mean of the values weighted by h, or of all alike where h is NULL. */
static void mean_value(const rt_head *head, const float *h, double sum, uint32_t count,
                       double *output)
{
    const uint32_t size = head->info->head_size;
    float value[RT_MOST_HEAD];
    for (uint32_t i = 0; i < size; i++)
        output[i] = 0;
    for (uint32_t j = 0; j < count; j++) {
        const double weight = h == NULL ? 1 : (double)h[j];
        if (weight == 0)
            continue;
        rt_head_value(head, j, value);
        for (uint32_t i = 0; i < size; i++)
            output[i] += weight * (double)value[i];
    }
    for (uint32_t i = 0; i < size; i++)
        output[i] /= sum;
}

/* Adds the squared change of one query head's output to `scores`. */
static void add_changes(const rt_head *head, rt_rescore rescore, const float *h, uint32_t count,
                        float *scores)
{
    double output[RT_MOST_HEAD], sum = 0;
    float value[RT_MOST_HEAD];
    for (uint32_t j = 0; j < count; j++)
        sum += (double)h[j];
    if (!(sum > 0))
        return; /* nothing is attended to: dropping a slot changes nothing */
    if (rescore == RT_RESCORE_FASTCAOTE)
        mean_value(head, NULL, count, count, output);
    else
        mean_value(head, h, sum, count, output);
    for (uint32_t j = 0; j < count; j++) {
        const double weight = (double)h[j], rest = sum - weight;
        const double ratio = weight / (rest > LEAST_REMAINDER * sum ? rest : LEAST_REMAINDER * sum);
        rt_head_value(head, j, value);
        scores[j] += (float)(ratio * ratio * square_distance(output, value, head->info->head_size));
    }
}

void rt_caote(const rt_head *head, rt_rescore rescore, const float *h, uint32_t rows,
              uint32_t count, float *scores)
{
    memset(scores, 0, count * sizeof *scores);
    for (uint32_t g = 0; g < rows; g++)
        add_changes(head, rescore, h + (uint64_t)g * head->slots, count, scores);
    for (uint32_t j = 0; j < count; j++)
        scores[j] = sqrtf(scores[j]);
}

void rt_score_slots(const rt_eviction *eviction, const rt_scoring *scoring)
{
    const uint32_t count = scoring->count;
    float *scores = scoring->scores;
    const uint32_t rows = eviction->policy->weigh(scoring);
    if (eviction->rescore != RT_RESCORE_NONE) {
        rt_caote(&scoring->head, eviction->rescore, scoring->weights, rows, count, scores);
        return;
    }
    memcpy(scores, scoring->weights, count * sizeof *scores);
    for (uint32_t g = 1; g < rows; g++)
        for (uint32_t j = 0; j < count; j++)
            scores[j] += scoring->weights[(uint64_t)g * scoring->head.slots + j];
}
