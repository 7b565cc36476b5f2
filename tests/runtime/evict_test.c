/* Eviction against slow oracles in binary64, and what must not change it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/runtime/evict_toy.h"

#define MOST 256 /* slots of any test */

static const char *const policies[] = {
    "recent",           "h2o",    "h2o+caote",    "h2o+fastcaote",    "tova",    "tova+caote",
    "tova+fastcaote",   "snapkv", "snapkv+caote", "snapkv+fastcaote", "keydiff", "keydiff+caote",
    "keydiff+fastcaote"};

#define POLICIES (sizeof policies / sizeof policies[0])

/* --- names --- */

TEST(policies_are_found_by_name)
{
    rt_eviction eviction;
    for (size_t i = 0; i < POLICIES; i++) {
        CHECK(rt_evict_find(policies[i], NULL, &eviction) == TANDEM_OK);
        CHECK(rt_evict_drops(&eviction));
    }
    CHECK(rt_evict_find("none", NULL, &eviction) == TANDEM_OK);
    CHECK(!rt_evict_drops(&eviction));
}

TEST(other_names_are_refused_in_a_sentence)
{
    static const char *const names[] = {"",          "lru",  "tovac",   "tova+",
                                        "tova+fast", "TOVA", "h2o+tova"};
    tandem_error error;
    rt_eviction eviction;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK(rt_evict_find(names[i], &error, &eviction) == TANDEM_INVALID);
    CHECK_STRING(error.text,
                 "there is no eviction policy h2o+tova: none, recent, h2o, tova, snapkv "
                 "and keydiff are there, all but the first two also as in tova+caote "
                 "and tova+fastcaote");
    CHECK(rt_evict_find("recent+caote", &error, &eviction) == TANDEM_INVALID);
    CHECK_STRING(error.text,
                 "the eviction policy recent+caote has no scores that could be changed: "
                 "h2o, tova, snapkv and keydiff have");
}

TEST(a_program_without_queries_refuses_policies_that_need_them)
{
    toy self;
    tandem_error error;
    CHECK(toy_make(&self, 4, 16, "tova"));
    CHECK(rt_evict_check(&self.cache.eviction, "tova", &self.info, &error) == TANDEM_OK);
    self.caches[1].queries.bytes = 0;
    CHECK(rt_evict_check(&self.cache.eviction, "tova", &self.info, &error) == TANDEM_REFUSED);
    CHECK_STRING(error.text, "the eviction policy tova needs queries, which this program does not "
                             "keep: compile it with --evict=POLICY for a policy that needs them");
    CHECK(rt_evict_find("keydiff", NULL, &self.cache.eviction) == TANDEM_OK);
    CHECK(rt_evict_check(&self.cache.eviction, "keydiff", &self.info, &error) == TANDEM_OK);
    toy_free(&self);
}

/* --- oracles, in binary64 --- */

/* Rows of one KV head's tokens, oldest first. */
typedef struct oracle {
    const toy *model;
    uint32_t layer, kv_head, group, size, count;
    uint64_t positions[MOST];
    double sums[4][MOST]; /* of h2o */
} oracle;

static void oracle_row(const oracle *self, uint32_t j, uint32_t kind, uint32_t g, double *row)
{
    const uint32_t head = kind == TOY_QUERY ? self->kv_head * self->group + g : self->kv_head;
    float numbers[64];
    toy_row(&self->model->caches[self->layer], self->layer, self->positions[j], kind, head,
            numbers);
    for (uint32_t i = 0; i < self->size; i++)
        row[i] = (double)numbers[i];
}

/* Whether a query at position `from` no longer sees position `seen`. */
static bool is_behind_window(const oracle *self, uint64_t seen, uint64_t from)
{
    const int64_t window = self->model->caches[self->layer].window;
    return window > 0 && (int64_t)seen <= (int64_t)from - window;
}

/* Attention of the query of token `j` over itself and all before it. */
static void oracle_attention(const oracle *self, uint32_t j, uint32_t g, double *weights)
{
    const tandem_cache_info *cache = &self->model->caches[self->layer];
    double query[64], key[64], sum = 0;
    oracle_row(self, j, TOY_QUERY, g, query);
    for (uint32_t i = 0; i < self->count; i++) {
        double score = 0;
        weights[i] = 0;
        if (i > j || is_behind_window(self, self->positions[i], self->positions[j]))
            continue;
        oracle_row(self, i, TOY_KEY, 0, key);
        for (uint32_t d = 0; d < self->size; d++)
            score += query[d] * key[d];
        score *= (double)cache->scale;
        if (cache->softcap > 0)
            score = (double)cache->softcap * tanh(score / (double)cache->softcap);
        weights[i] = exp(score);
        sum += weights[i];
    }
    for (uint32_t i = 0; i <= j; i++)
        weights[i] /= sum;
}

/* What the attention output of all query heads changes by when slot j is dropped, by doing it. The
 * change may be tiny beside the output, hence the long sums; below 1e-13 it drowns all the same. */
static double brute_force_change(const oracle *self, double (*weights)[MOST], uint32_t rows,
                                 uint32_t j)
{
    double square = 0, value[64];
    for (uint32_t g = 0; g < rows; g++) {
        long double with[64] = {0}, without[64] = {0}, all = 0, rest = 0;
        for (uint32_t i = 0; i < self->count; i++) {
            const long double weight = (long double)weights[g][i];
            oracle_row(self, i, TOY_VALUE, 0, value);
            all += weight;
            rest += i == j ? 0 : weight;
            for (uint32_t d = 0; d < self->size; d++) {
                with[d] += weight * (long double)value[d];
                without[d] += i == j ? 0 : weight * (long double)value[d];
            }
        }
        for (uint32_t d = 0; d < self->size; d++)
            square += pow((double)(with[d] / all - without[d] / rest), 2);
    }
    return sqrt(square);
}

static double fast_change(const oracle *self, double (*weights)[MOST], uint32_t rows, uint32_t j)
{
    double mean[64] = {0}, value[64], distance = 0, factor = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        oracle_row(self, i, TOY_VALUE, 0, value);
        for (uint32_t d = 0; d < self->size; d++)
            mean[d] += value[d] / self->count;
    }
    oracle_row(self, j, TOY_VALUE, 0, value);
    for (uint32_t d = 0; d < self->size; d++)
        distance += pow(mean[d] - value[d], 2);
    for (uint32_t g = 0; g < rows; g++) {
        double all = 0;
        for (uint32_t i = 0; i < self->count; i++)
            all += weights[g][i];
        factor += pow(weights[g][j] / (all - weights[g][j]), 2);
    }
    return sqrt(factor * distance);
}

/* --- base scores of the policies --- */

static uint32_t oracle_sums(const oracle *self, double (*weights)[MOST])
{
    memcpy(weights, self->sums, sizeof self->sums);
    return self->group;
}

static uint32_t oracle_newest(const oracle *self, double (*weights)[MOST])
{
    for (uint32_t g = 0; g < self->group; g++)
        oracle_attention(self, self->count - 1, g, weights[g]);
    return self->group;
}

static uint32_t oracle_votes(const oracle *self, double (*weights)[MOST])
{
    const uint32_t window =
        rt_evict_window(rt_evict_quota(&self->model->cache.eviction, self->model->cache.slots));
    const uint32_t before = self->count - window;
    for (uint32_t g = 0; g < self->group; g++) {
        double votes[MOST] = {0}, row[MOST];
        for (uint32_t j = before; j < self->count; j++) {
            oracle_attention(self, j, g, row);
            for (uint32_t i = 0; i < self->count; i++)
                votes[i] += row[i];
        }
        memcpy(weights[g], votes, sizeof votes);
        for (int32_t i = 0; i < (int32_t)before; i++) {
            double sum = 0, terms = 0;
            for (int32_t k = i - 2; k <= i + 2; k++)
                if (k >= 0 && k < (int32_t)before) {
                    sum += votes[k];
                    terms++;
                }
            weights[g][i] = sum / terms;
        }
    }
    return self->group;
}

static uint32_t oracle_difference(const oracle *self, double (*weights)[MOST])
{
    double mean[64] = {0}, key[64];
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t j = 0; j < self->count; j++) {
            double length = 0, product = 0, mean_length = 0;
            oracle_row(self, j, TOY_KEY, 0, key);
            for (uint32_t d = 0; d < self->size; d++) {
                length += key[d] * key[d];
                product += key[d] * mean[d];
                mean_length += mean[d] * mean[d];
            }
            for (uint32_t d = 0; d < self->size && pass == 0; d++)
                mean[d] += key[d] / sqrt(length);
            if (pass == 1)
                weights[0][j] = (1 - product / sqrt(length * mean_length)) / 2;
        }
    return 1;
}

static const struct {
    const char *name;
    uint32_t (*weigh)(const oracle *self, double (*weights)[MOST]);
} oracle_policies[] = {{"recent", NULL},
                       {"h2o", oracle_sums},
                       {"tova", oracle_newest},
                       {"snapkv", oracle_votes},
                       {"keydiff", oracle_difference}};

static void oracle_scores(const oracle *self, const char *policy, double *scores)
{
    double weights[4][MOST] = {{0}};
    uint32_t rows = 1;
    for (size_t i = 0; i < sizeof oracle_policies / sizeof oracle_policies[0]; i++)
        if (strncmp(policy, oracle_policies[i].name, strlen(oracle_policies[i].name)) == 0 &&
            oracle_policies[i].weigh != NULL)
            rows = oracle_policies[i].weigh(self, weights);
    for (uint32_t j = 0; j < self->count; j++) {
        scores[j] = 0;
        for (uint32_t g = 0; g < rows; g++)
            scores[j] += weights[g][j];
        if (strstr(policy, "+caote") != NULL)
            scores[j] = brute_force_change(self, weights, rows, j);
        if (strstr(policy, "+fastcaote") != NULL)
            scores[j] = fast_change(self, weights, rows, j);
    }
}

/* One more token is committed; when the slots are full, the lowest scores are dropped one by one.
 */
static void oracle_commit(oracle *self, const char *policy, uint64_t position)
{
    const uint32_t slots = self->model->cache.slots,
                   quota = rt_evict_quota(&self->model->cache.eviction, slots);
    self->positions[self->count++] = position;
    for (uint32_t g = 0; g < self->group; g++) {
        double row[MOST];
        oracle_attention(self, self->count - 1, g, row);
        self->sums[g][self->count - 1] = 0;
        for (uint32_t j = 0; j < self->count; j++)
            self->sums[g][j] += row[j];
    }
    if (self->count < slots)
        return;
    double scores[MOST];
    bool gone[MOST] = {false};
    oracle_scores(self, policy, scores);
    const int64_t window = self->model->caches[self->layer].window;
    const uint64_t last = position + slots - quota; /* before the next eviction */
    const uint32_t end = slots - rt_evict_window(quota);
    uint32_t drop = slots - quota;
    for (uint32_t j = 0; drop > 0 && j < slots; j++)
        if (is_behind_window(self, self->positions[j], last) || (window > 0 && window < slots)) {
            gone[j] = true;
            drop--;
        }
    for (; drop > 0; drop--) {
        uint32_t lowest = end;
        for (uint32_t j = rt_evict_sinks(quota); j < end; j++)
            if (!gone[j] && (lowest == end || scores[j] < scores[lowest]))
                lowest = j;
        gone[lowest] = true;
    }
    uint32_t kept = 0;
    for (uint32_t j = 0; j < slots; j++) {
        if (gone[j])
            continue;
        self->positions[kept] = self->positions[j];
        for (uint32_t g = 0; g < self->group; g++)
            self->sums[g][kept] = self->sums[g][j];
        kept++;
    }
    self->count = kept;
}

/* --- whole runs --- */

static bool same_slots(const toy *self, const oracle *expected)
{
    if ((uint32_t)*toy_count(self, expected->layer, expected->kv_head) != expected->count)
        return false;
    for (uint32_t j = 0; j < expected->count; j++)
        if (toy_position(self, expected->layer, expected->kv_head, j) != expected->positions[j])
            return false;
    return true;
}

/* `window` is that of the second layer. */
static void check_run(const char *policy, uint32_t element_bytes, uint32_t slots, uint64_t tokens,
                      uint32_t step, int64_t window)
{
    toy self;
    CHECK(toy_make(&self, element_bytes, slots, policy));
    self.caches[1].window = window;
    self.cache.eviction.step = step;
    toy_feed(&self, tokens, 7);
    for (uint32_t layer = 0; layer < TOY_LAYERS; layer++)
        for (uint32_t h = 0; h < self.caches[layer].kv_heads; h++) {
            oracle expected = {.model = &self, .layer = layer, .kv_head = h};
            expected.group = self.caches[layer].heads / self.caches[layer].kv_heads;
            expected.size = self.caches[layer].head_size;
            for (uint64_t position = 0; position < tokens; position++)
                oracle_commit(&expected, policy, position);
            CHECK_MESSAGE(same_slots(&self, &expected),
                          "%s, %u bytes, layer %u, head %u, window %d", policy, element_bytes,
                          layer, h, (int)window);
        }
    CHECK(self.evictions > 2);
    toy_free(&self);
}

TEST(surviving_slots_are_those_of_the_oracle)
{
    static const uint32_t element_bytes[] = {4, 2, 1};
    for (size_t p = 0; p < POLICIES && !test_failed; p++)
        for (size_t i = 0; i < 3 && !test_failed; i++)
            check_run(policies[p], element_bytes[i], 64, 160, 0, 41);
}

TEST(what_leaves_a_window_is_dropped_first)
{
    static const int64_t windows[] = {1, 16, 63, 64, 65, 79, 80, 100, 159, 1000};
    for (size_t p = 0; p < POLICIES; p++) /* three windows each, all of them several times */
        for (size_t i = 0; i < 3 && !test_failed; i++)
            check_run(policies[p], 4, 64, 160, p % 2 == 0 ? 0 : 5, windows[(p + 3 * i) % 10]);
}

/* Whether the newest `window` slots that are held, by which kernels go, are just the tokens of the
 * last `window` positions that are held, for the next token. */
static bool windows_agree(const toy *self)
{
    const uint32_t count = rt_evict_count(&self->cache);
    const uint64_t window = (uint64_t)self->caches[1].window;
    for (uint32_t j = 0; j < count; j++) {
        const bool by_rank = j + window > count;
        if (by_rank != (toy_position(self, 1, 0, j) + window > self->committed))
            return false;
    }
    return true;
}

TEST(windows_count_positions)
{
    static const int64_t windows[] = {20, 48, 64, 90};
    for (size_t p = 0; p < POLICIES; p++)
        for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
            toy self;
            CHECK(toy_make(&self, 4, 64, policies[p]));
            self.caches[1].window = windows[i];
            for (uint64_t end = 20; end < 160; end += 13) {
                toy_feed(&self, end, TOY_TAIL);
                CHECK_MESSAGE(windows_agree(&self), "%s, window %d, %d tokens", policies[p],
                              (int)windows[i], (int)end);
            }
            toy_free(&self);
        }
}

TEST(few_slots_work)
{
    for (size_t p = 0; p < POLICIES && !test_failed; p++)
        check_run(policies[p], 4, 16, 61, 0, 41);
}

TEST(single_evictions_and_long_steps_work)
{
    for (size_t p = 0; p < POLICIES && !test_failed; p++) {
        check_run(policies[p], 2, 48, 56, 1, 41);
        check_run(policies[p], 2, 48, 140, 1000, 41); /* half of the slots */
    }
}

TEST(recent_keeps_sinks_and_the_newest)
{
    toy self;
    CHECK(toy_make(&self, 2, 48, "recent"));
    toy_feed(&self, 48 + 12 * 3, 16);
    CHECK(self.evictions == 4);
    for (uint32_t j = 0; j < 36; j++) {
        CHECK(toy_position(&self, 0, 1, j) == (j < 4 ? j : self.committed - 36 + j));
        CHECK(toy_position(&self, 1, 0, j) == self.committed - 36 + j); /* window 41: no sinks */
    }
    toy_free(&self);
}

/* --- compact positions --- */

static const float frequencies[4] = {1, 0.3f, 0.05f, 0.002f};

/* Where a token was put when it came, under "recent" with 48 slots. */
static uint64_t first_rank(uint64_t position)
{
    return position < 48 ? position : 36 + (position - 48) % 12;
}

/* Largest difference of a slot's key from its token's, turned back by all steps at once. */
static double turned_wrongly(const toy *self, uint32_t slot, uint64_t position)
{
    const bool interleaved = self->info.rotary.interleaved != 0;
    const rt_head head = rt_head_of(&self->caches[0], self->cache.state, 64, 48, 1);
    const double steps = (double)(first_rank(position) - slot);
    float keys[8 * RT_PANEL], row[8];
    double largest = 0;
    rt_head_keys(&head, slot / RT_PANEL, keys);
    toy_row(&self->caches[0], 0, position, TOY_KEY, 1, row);
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t low = interleaved ? 2 * i : i, high = interleaved ? 2 * i + 1 : i + 4;
        const double angle = -steps * (double)frequencies[i];
        const double x = (double)row[low], y = (double)row[high];
        const double turned[2] = {x * cos(angle) - y * sin(angle), y * cos(angle) + x * sin(angle)};
        const uint32_t lane = slot % RT_PANEL;
        largest = fmax(largest, fabs((double)keys[low * RT_PANEL + lane] - turned[0]));
        largest = fmax(largest, fabs((double)keys[high * RT_PANEL + lane] - turned[1]));
    }
    return largest;
}

TEST(compact_positions_turn_keys_back)
{
    for (uint32_t interleaved = 0; interleaved < 2; interleaved++)
        for (uint32_t bytes = 2; bytes <= 4; bytes += 2) {
            toy self;
            CHECK(toy_make(&self, bytes, 48, "recent"));
            self.info.rotary = (tandem_rotary_info){frequencies, 4, interleaved};
            self.cache.eviction.compact = true;
            toy_feed(&self, 48 + 12 * 3, 16);
            for (uint32_t j = 0; j < 36; j++) {
                const uint64_t position = j < 4 ? j : self.committed - 36 + j;
                const double wrong = turned_wrongly(&self, j, position);
                CHECK_MESSAGE(wrong <= (bytes == 4 ? 1e-6 : 2e-3), "slot %u is wrong by %g", j,
                              wrong);
            }
            toy_free(&self);
        }
}

TEST(compact_positions_are_refused_where_keys_cannot_be_turned)
{
    toy self;
    tandem_error error;
    CHECK(toy_make(&self, 2, 48, "recent"));
    rt_eviction *eviction = &self.cache.eviction;
    CHECK(rt_evict_positions("absolute", &self.info, &error, eviction) == TANDEM_OK);
    CHECK(rt_evict_positions(NULL, &self.info, &error, eviction) == TANDEM_OK);
    CHECK(rt_evict_positions("compact", &self.info, &error, eviction) == TANDEM_REFUSED);
    self.info.rotary = (tandem_rotary_info){frequencies, 4, 0};
    CHECK(rt_evict_positions("compact", &self.info, &error, eviction) == TANDEM_REFUSED);
    CHECK_STRING(error.text, "compact positions cannot be had: the model's layers are not rotated "
                             "all alike");
    self.caches[1].head_size = 8;
    CHECK(!eviction->compact);
    CHECK(rt_evict_positions("compact", &self.info, &error, eviction) == TANDEM_OK);
    CHECK(eviction->compact);
    self.caches[1].element_bytes = 1;
    CHECK(rt_evict_positions("compact", &self.info, &error, eviction) == TANDEM_REFUSED);
    self.caches[1].element_bytes = 2;
    CHECK(rt_evict_find("snapkv", NULL, eviction) == TANDEM_OK);
    eviction->step = 31;
    CHECK(rt_evict_positions("compact", &self.info, &error, eviction) == TANDEM_INVALID);
    eviction->step = 32;
    CHECK(rt_evict_positions("compact", &self.info, &error, eviction) == TANDEM_OK);
    CHECK(rt_evict_positions("ranks", &self.info, &error, eviction) == TANDEM_INVALID);
    toy_free(&self);
}

/* --- CAOTE --- */

/* A head of the toy's first layer that holds n tokens: attention of the newest, and CAOTE. */
typedef struct closed_form {
    oracle head;
    double weights[4][MOST]; /* as the runtime has them */
    float scores[MOST];
} closed_form;

static void compute_closed_form(toy *self, uint32_t n, float scale, closed_form *form)
{
    self->caches[0].scale = scale;
    toy_feed(self, n, 16);
    form->head = (oracle){.model = self, .kv_head = 1, .group = 2, .size = 8, .count = n};
    for (uint32_t j = 0; j < n; j++)
        form->head.positions[j] = j;
    const rt_head head = rt_head_of(&self->caches[0], self->cache.state, 64, self->cache.slots, 1);
    float queries[2 * 8], weights[2 * MOST], scratch[MOST];
    for (uint32_t g = 0; g < 2; g++)
        toy_row(&self->caches[0], 0, n - 1, TOY_QUERY, 2 + g, queries + g * 8);
    rt_attention_weights(&head, 2, queries, n, scratch, weights);
    rt_caote(&head, RT_RESCORE_CAOTE, weights, 2, n, form->scores);
    for (uint32_t g = 0; g < 2; g++)
        for (uint32_t j = 0; j < n; j++)
            form->weights[g][j] = (double)weights[g * self->cache.slots + j];
}

static const float scales[] = {0.02f, 0.2f, 0.7f, 1.5f}; /* up to nearly all on one slot */

TEST(attention_weights_are_those_of_the_model)
{
    for (uint32_t n = 2; n < 90; n += 3) {
        toy self;
        closed_form form;
        double expected[MOST];
        CHECK(toy_make(&self, n % 2 == 0 ? 4 : 1, 96, "tova"));
        compute_closed_form(&self, n, scales[n % 4], &form);
        for (uint32_t g = 0; g < 2; g++) {
            oracle_attention(&form.head, n - 1, g, expected);
            for (uint32_t j = 0; j < n; j++)
                CHECK_MESSAGE(fabs(form.weights[g][j] - expected[j]) <= 2e-5 * expected[j],
                              "%u of %u: %g, expected %g", j, n, form.weights[g][j], expected[j]);
        }
        toy_free(&self);
    }
}

TEST(closed_form_is_the_change_of_the_output)
{
    double largest = 0;
    for (uint32_t n = 2; n < 90; n++) {
        toy self;
        closed_form form;
        uint32_t picked = 0, best = 0;
        double changes[MOST];
        CHECK(toy_make(&self, n % 2 == 0 ? 4 : 2, 96, "tova"));
        compute_closed_form(&self, n, scales[n % 4], &form);
        for (uint32_t j = 0; j < n; j++) {
            changes[j] = brute_force_change(&form.head, form.weights, 2, j);
            picked = form.scores[j] < form.scores[picked] ? j : picked;
            best = changes[j] < changes[best] ? j : best;
            const double weight = fmax(form.weights[0][j], form.weights[1][j]);
            if (weight > 0.999)
                continue;
            largest = fmax(largest, weight);
            CHECK_MESSAGE(fabs((double)form.scores[j] - changes[j]) <= 1e-5 * changes[j] + 1e-18,
                          "%u of %u: %g, brute force %g", j, n, (double)form.scores[j], changes[j]);
        }
        CHECK_MESSAGE(picked == best, "%u tokens: %u, brute force %u", n, picked, best);
        toy_free(&self);
    }
    CHECK(largest > 0.99); /* large weights were among them */
}

TEST(weights_of_one_slot_alone_are_finite)
{
    toy self;
    float h[MOST] = {0}, scores[MOST];
    CHECK(toy_make(&self, 4, 32, "tova"));
    toy_feed(&self, 20, 16);
    const rt_head head = rt_head_of(&self.caches[0], self.cache.state, 64, 32, 0);
    for (uint32_t j = 0; j < 20; j++) /* no weight at all: no change */
        h[j] = 0;
    rt_caote(&head, RT_RESCORE_CAOTE, h, 1, 20, scores);
    for (uint32_t j = 0; j < 20; j++)
        CHECK(scores[j] == 0);
    h[3] = 5; /* all of it in one slot: the others cost nothing, it is past all bounds */
    rt_caote(&head, RT_RESCORE_FASTCAOTE, h, 1, 20, scores);
    for (uint32_t j = 0; j < 20; j++)
        CHECK(j == 3 ? scores[j] > 1e4f && isfinite(scores[j]) : scores[j] == 0);
    toy_free(&self);
}

/* --- what must not change anything --- */

/* All that a session keeps of its slots: counts, then every slot that is taken, and what scores are
 * made of. */
static bool same_state(const toy *a, const toy *b)
{
    if (memcmp(a->cache.state, b->cache.state, 64) != 0)
        return false;
    for (uint32_t layer = 0; layer < TOY_LAYERS; layer++)
        for (uint32_t h = 0; h < a->caches[layer].kv_heads; h++)
            for (uint32_t j = 0; j < (uint32_t)*toy_count(a, layer, h); j++) {
                const uint64_t position = toy_position(a, layer, h, j);
                if (position == UINT64_MAX || toy_position(b, layer, h, j) != position)
                    return false;
            }
    const tandem_evict_needs needs = rt_evict_needs(&a->cache.eviction);
    const tandem_evict_bytes bytes = tandem_evict_sizes(&a->info, &needs);
    if (memcmp(a->cache.memory, b->cache.memory,
               needs.observed * tandem_evict_width(&a->info) * sizeof(float)) != 0)
        return false;
    const uint32_t taken = rt_evict_count(&a->cache), slots = a->cache.slots;
    for (uint32_t row = 0; needs.sums && row < 7; row++) {
        const uint64_t at = bytes.observed + (uint64_t)row * slots * sizeof(float);
        if (memcmp(a->cache.memory + at, b->cache.memory + at, taken * sizeof(float)) != 0)
            return false;
    }
    return true;
}

TEST(chunks_change_nothing)
{
    for (size_t p = 0; p < POLICIES; p++) {
        toy one;
        CHECK(toy_make(&one, 2, 64, policies[p]));
        toy_feed(&one, 150, 1);
        for (uint32_t chunk = 2; chunk <= TOY_TAIL; chunk += 7) {
            toy other;
            CHECK(toy_make(&other, 2, 64, policies[p]));
            toy_feed(&other, 150, chunk);
            CHECK_MESSAGE(same_state(&one, &other), "%s in chunks of %u", policies[p], chunk);
            toy_free(&other);
        }
        toy_free(&one);
    }
}

/* Drafts of up to 12 nodes in several passes, of which some path is accepted; the other nodes are
 * tokens that are never committed. */
static void feed_trees(toy *self, uint64_t end, uint64_t seed)
{
    while (self->committed < end) {
        const uint32_t room = toy_room(self) < 12 ? toy_room(self) : 12;
        int32_t path[TOY_TAIL];
        uint32_t count = 0;
        for (uint32_t place = 0; place < room;) {
            uint64_t positions[TOY_TAIL];
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            uint32_t tokens = 1 + (uint32_t)(seed >> 60) % 4;
            tokens = tokens < room - place ? tokens : room - place;
            for (uint32_t i = 0; i < tokens; i++)
                positions[i] = 1000000 + seed % 1000 + i;
            const uint32_t taken = (uint32_t)(seed >> 50) % tokens;
            if (self->committed + count < end) {
                positions[taken] = self->committed + count;
                path[count++] = (int32_t)(place + taken);
            }
            toy_pass(self, place, positions, tokens);
            place += tokens;
        }
        toy_commit(self, path, count);
    }
}

TEST(speculation_changes_nothing)
{
    for (size_t p = 0; p < POLICIES; p++) {
        toy plain, drafted;
        CHECK(toy_make(&plain, 1, 64, policies[p]) && toy_make(&drafted, 1, 64, policies[p]));
        toy_feed(&plain, 150, 1);
        feed_trees(&drafted, 150, p);
        CHECK_MESSAGE(same_state(&plain, &drafted), "%s", policies[p]);
        toy_free(&plain);
        toy_free(&drafted);
    }
}

/* Many parts, in an order of their own. */
static void share_backwards(void *self, tandem_kernel kernel, const void *arguments, uint64_t work)
{
    const uint64_t parts = *(const uint64_t *)self;
    (void)work;
    for (uint64_t part = parts; part-- > 0;)
        kernel(arguments, part, parts);
}

TEST(parts_change_nothing)
{
    for (size_t p = 0; p < POLICIES; p++)
        for (uint64_t parts = 1; parts <= 37; parts += 6) {
            toy alone, shared;
            CHECK(toy_make(&alone, 2, 64, policies[p]) && toy_make(&shared, 2, 64, policies[p]));
            shared.cache.share = share_backwards;
            shared.cache.share_self = &parts;
            toy_feed(&alone, 80, 16);
            toy_feed(&shared, 80, 16);
            CHECK_MESSAGE(same_state(&alone, &shared), "%s in %d parts", policies[p], (int)parts);
            toy_free(&alone);
            toy_free(&shared);
        }
}

TEST(not_numbers_do_no_harm)
{
    for (size_t p = 0; p < POLICIES; p++) {
        toy self;
        CHECK(toy_make(&self, 4, 64, policies[p]));
        toy_feed(&self, 50, 16);
        const rt_head head = rt_head_of(&self.caches[0], self.cache.state, 64, 64, 0);
        const float bad[] = {NAN, INFINITY, -INFINITY};
        for (uint32_t i = 0; i < 3; i++) {
            memcpy(head.keys + ((1 * 8 + i) * 16 + i) * 4, &bad[i], 4);
            memcpy(head.values + ((20 + i) * 8) * 4, &bad[i], 4);
        }
        toy_feed(&self, 140, 16);
        for (uint32_t layer = 0; layer < TOY_LAYERS; layer++)
            for (uint32_t h = 0; h < self.caches[layer].kv_heads; h++)
                CHECK((uint32_t)*toy_count(&self, layer, h) == rt_evict_count(&self.cache));
        CHECK(rt_evict_count(&self.cache) <= 64);
        toy_free(&self);
    }
}

TEST_MAIN()
