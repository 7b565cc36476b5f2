/* Saved sessions: a text with its caches, so that a prompt need not be passed again.
 *
 * SPDX-License-Identifier: MIT
 *
 * The file, little-endian, every part a multiple of 8 bytes:
 *   saved_header
 *   ids    int32[length], filled up to a multiple of 8 bytes
 *   per model   counts of its heads; per cache and KV head the slots that are taken, in whole
 *               blocks of 16, of K, of K's scales, of V, of V's scales; what eviction keeps
 *   hash   uint64: tandem_payload_hash of all before it
 *
 * Only slots that are taken are written, so a file fits sessions with more or fewer slots, unless
 * the slots are the clock of eviction. Nothing is allocated, for reading or for writing. */
#include "runtime/internal.h"

#include "runtime/evict_score.h"
#include "runtime/payload_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVED_VERSION 2u
#define PATH_BYTES    4096

static const char saved_magic[8] = "TANDEMSE";

typedef struct saved_model {
    uint32_t fed, held; /* tokens committed, and slots taken by them in every head */
    uint32_t slots, padding;
    uint64_t policy_bytes;
} saved_model;

typedef struct saved_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint64_t artefact; /* header_hash of the artefact */
    uint64_t bytes;    /* of the file, the hash at its end included */
    uint64_t number, round;
    uint32_t length, model_count;
    char policy[24]; /* of eviction */
    uint32_t rescore, step, compact, padding;
    saved_model models[RT_MAX_MODELS];
} saved_header;

_Static_assert(sizeof(saved_header) % 8 == 0, "parts of a saved session are whole words");

/* --- parts of a file --- */

/* A file being written or read; the first failure stays. */
typedef struct saved_file {
    int file;
    const char *path; /* for messages */
    bool writes;
    int failure; /* errno; -1: the file ended early */
    uint64_t hash;
} saved_file;

static ssize_t move_some(const saved_file *self, void *bytes, uint64_t count)
{
    return self->writes ? write(self->file, bytes, count) : read(self->file, bytes, count);
}

/* Moves `count` bytes, a multiple of 8, between memory and file. */
static void move_part(saved_file *self, void *part, uint64_t count)
{
    uint64_t done = 0;
    while (done < count && self->failure == 0) {
        const ssize_t now = move_some(self, (unsigned char *)part + done, count - done);
        if (now > 0)
            done += (uint64_t)now;
        else if (now == 0)
            self->failure = self->writes ? ENOSPC : -1;
        else if (errno != EINTR)
            self->failure = errno;
    }
    if (self->failure == 0)
        self->hash = tandem_payload_hash(self->hash, part, count);
}

/* The slots of one half of a cache, K or V, that are taken, in whole blocks. */
static void move_slots(saved_file *self, const tandem_cache_info *cache, unsigned char *half,
                       uint64_t slots, uint64_t taken)
{
    const uint64_t row = (uint64_t)cache->head_size * cache->element_bytes;
    for (uint32_t head = 0; head < cache->kv_heads; head++)
        move_part(self, half + head * slots * row, taken * row);
    unsigned char *scales = half + cache->kv_heads * slots * row;
    for (uint32_t head = 0; cache->element_bytes == 1 && head < cache->kv_heads; head++)
        move_part(self, scales + head * slots * sizeof(uint16_t), taken * sizeof(uint16_t));
}

/* One model's share of a session. */
static void move_model(saved_file *self, const tandem_session *session, unsigned which,
                       const saved_model *saved)
{
    const tandem_model_info *info = &session->model->artefact->models[which];
    const rt_cache *cache = &session->caches[which];
    const uint64_t slots = session->model->slots[which];
    const uint64_t taken = tandem_plan_round(saved->held, TANDEM_SLOT_MULTIPLE);
    move_part(self, cache->state, info->state_fixed_bytes);
    for (uint32_t layer = 0; layer < info->layers; layer++) {
        const tandem_cache_info *row = &info->caches[layer];
        unsigned char *start = cache->state + info->state_fixed_bytes;
        move_slots(self, row, start + slots * row->key_slot_offset, slots, taken);
        move_slots(self, row, start + slots * row->value_slot_offset, slots, taken);
    }
    move_part(self, cache->policy, saved->policy_bytes);
}

/* All that comes behind the header. */
static void move_session(saved_file *self, tandem_session *session, const saved_header *header)
{
    move_part(self, session->ids, tandem_plan_round(header->length * sizeof(int32_t), 8));
    for (uint32_t i = 0; i < header->model_count; i++)
        move_model(self, session, i, &header->models[i]);
}

/* --- what a session comes to --- */

static uint32_t slots_taken(const tandem_session *session, unsigned which)
{
    return (uint32_t) * (const int32_t *)(const void *)session->caches[which].state;
}

static saved_model describe_model(const tandem_session *session, unsigned which)
{
    const tandem_model *model = session->model;
    const tandem_evict_needs needs = rt_evict_needs(&model->eviction);
    const tandem_evict_bytes policy = tandem_evict_sizes(&model->artefact->models[which], &needs);
    return (saved_model){
        .fed = session->caches[which].fed,
        .held = slots_taken(session, which),
        .slots = model->slots[which],
        .policy_bytes = tandem_evict_saved(&policy, model->slots[which]),
    };
}

/* What move_model() writes. */
static uint64_t bytes_of_model(const tandem_model_info *info, const saved_model *saved)
{
    const uint64_t taken = tandem_plan_round(saved->held, TANDEM_SLOT_MULTIPLE);
    uint64_t bytes = info->state_fixed_bytes + saved->policy_bytes;
    for (uint32_t layer = 0; layer < info->layers; layer++) {
        const tandem_cache_info *cache = &info->caches[layer];
        const uint64_t scale = cache->element_bytes == 1 ? sizeof(uint16_t) : 0;
        const uint64_t row = (uint64_t)cache->head_size * cache->element_bytes + scale;
        bytes += 2 * cache->kv_heads * row * taken;
    }
    return bytes;
}

static saved_header describe(const tandem_session *session)
{
    const tandem_model *model = session->model;
    const tandem_artefact *artefact = model->artefact;
    saved_header header = {
        .version = SAVED_VERSION,
        .header_bytes = sizeof header,
        .artefact = artefact->header_hash,
        .number = session->number,
        .round = session->round,
        .length = session->length,
        .model_count = artefact->model_count,
        .rescore = (uint32_t)model->eviction.rescore,
        .step = model->eviction.step,
        .compact = model->eviction.compact,
    };
    memcpy(header.magic, saved_magic, sizeof saved_magic);
    snprintf(header.policy, sizeof header.policy, "%s", model->eviction.policy->name);
    header.bytes =
        sizeof header + sizeof(uint64_t) + tandem_plan_round(session->length * sizeof(int32_t), 8);
    for (uint32_t i = 0; i < artefact->model_count; i++) {
        header.models[i] = describe_model(session, i);
        header.bytes += bytes_of_model(&artefact->models[i], &header.models[i]);
    }
    return header;
}

/* --- saving --- */

static tandem_status fail_to_write(const tandem_session *session, const char *path, int failure)
{
    return rt_fail(&session->model->error, TANDEM_FAILED, "%s: the session cannot be saved: %s",
                   path, strerror(failure));
}

/* Passes what was fed through the models, so that the one who restores need not. */
static void catch_up(tandem_session *session)
{
    const tandem_artefact *artefact = session->model->artefact;
    const uint32_t fed = session->caches[RT_TARGET].fed;
    const double start = rt_seconds();
    for (uint32_t i = 0; session->length > 1 && i < artefact->model_count; i++)
        if (rt_holds(session, i, session->length - 1) &&
            session->length - 1 <= rt_longest_text(session, i))
            rt_catch_up(session, i, session->length - 1);
    /* Where no text was generated, the figures are those of the prompt. */
    if (session->counts.stop == TANDEM_STOP_NONE && session->length > fed + 1) {
        session->counts.prompt_tokens = session->length - fed;
        session->counts.prefill_seconds = rt_seconds() - start;
    }
}

static int write_session(tandem_session *session, int file, const char *path)
{
    saved_file self = {.file = file, .path = path, .writes = true};
    saved_header header = describe(session);
    self.hash = TANDEM_PAYLOAD_HASH_START;
    move_part(&self, &header, sizeof header);
    move_session(&self, session, &header);
    uint64_t hash = self.hash;
    move_part(&self, &hash, sizeof hash);
    if (self.failure == 0 && fsync(file) != 0 && errno != EINVAL)
        self.failure = errno;
    return self.failure;
}

tandem_status rt_save(tandem_session *session, const char *path)
{
    char beside[PATH_BYTES];
    struct stat old;
    if (stat(path, &old) == 0 && !S_ISREG(old.st_mode))
        return rt_fail(&session->model->error, TANDEM_FAILED,
                       "%s: the session cannot be saved: this is not a regular file", path);
    const int length = snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof beside)
        return fail_to_write(session, path, ENAMETOOLONG);
    const int file = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0)
        return fail_to_write(session, path, errno);
    catch_up(session);
    int failure = write_session(session, file, path);
    if (close(file) != 0 && failure == 0)
        failure = errno;
    if (failure == 0 && rename(beside, path) != 0)
        failure = errno;
    if (failure == 0)
        return TANDEM_OK;
    unlink(beside);
    return fail_to_write(session, path, failure);
}

/* --- restoring --- */

static tandem_status refuse(const tandem_session *session, const char *path, const char *why)
{
    return rt_fail(&session->model->error, TANDEM_REFUSED, "%s: the session cannot be restored: %s",
                   path, why);
}

/* Reads the header and all that follows it, and compares the hash. */
static tandem_status check_whole(tandem_session *session, saved_file *self, saved_header *header)
{
    struct stat status;
    static const char damaged[] = "the file is damaged or was cut";
    self->hash = TANDEM_PAYLOAD_HASH_START;
    if (fstat(self->file, &status) != 0)
        return refuse(session, self->path, strerror(errno));
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size < sizeof *header)
        return refuse(session, self->path, "this is no saved session");
    move_part(self, header, sizeof *header);
    if (self->failure != 0 || memcmp(header->magic, saved_magic, sizeof saved_magic) != 0)
        return refuse(session, self->path, "this is no saved session");
    if (header->version != SAVED_VERSION || header->header_bytes != sizeof *header)
        return refuse(session, self->path, "it was saved by another version of the runtime");
    if (header->bytes != (uint64_t)status.st_size || header->bytes % 8 != 0 ||
        header->bytes < sizeof *header + sizeof(uint64_t))
        return refuse(session, self->path, damaged);
    uint64_t left = header->bytes - sizeof *header - sizeof(uint64_t), noted = 0;
    while (left > 0 && self->failure == 0) {
        const uint64_t part = left < sizeof session->text ? left : sizeof session->text;
        move_part(self, session->text, part);
        left -= part;
    }
    const uint64_t hash = self->hash;
    move_part(self, &noted, sizeof noted);
    if (self->failure > 0)
        return refuse(session, self->path, strerror(self->failure));
    return self->failure == 0 && noted == hash ? TANDEM_OK : refuse(session, self->path, damaged);
}

/* Whether a model's counts are such as a session has between rounds: the last token has not been
 * passed, and there is a slot for each that has (the drafter may have left some out), or, with
 * eviction, at least one that is free. */
static bool has_sound_counts(const saved_header *saved, unsigned which, bool evicts)
{
    const saved_model *part = &saved->models[which];
    const bool last_waits = part->fed < saved->length || saved->length == 0;
    const bool dropped = evicts || which == RT_DRAFTER;
    const bool slots = (dropped ? part->held <= part->fed : part->held == part->fed) &&
                       (!evicts || part->held < part->slots);
    return part->fed <= saved->length && last_waits && slots;
}

/* Whether what was saved fits this session, whose own description is `own`. */
static tandem_status check_fit(const tandem_session *session, const char *path,
                               const saved_header *saved, const saved_header *own)
{
    const tandem_model *model = session->model;
    if (saved->artefact != own->artefact || saved->model_count != own->model_count)
        return refuse(session, path, "it was saved by another program");
    if (memcmp(saved->policy, own->policy, sizeof own->policy) != 0 ||
        saved->rescore != own->rescore || saved->step != own->step ||
        saved->compact != own->compact)
        return refuse(session, path, "it was saved under another policy of eviction");
    const bool evicts = rt_evict_drops(&model->eviction);
    /* A text that ended for want of slots has a last token without one. */
    bool fits = saved->length <= model->tokens + 1;
    for (uint32_t i = 0; i < own->model_count; i++) {
        const saved_model *part = &saved->models[i];
        if (evicts && part->slots != model->slots[i])
            return rt_fail(&session->model->error, TANDEM_REFUSED,
                           "%s: the session cannot be restored: it had %u slots, and this one %u; "
                           "with eviction they must be the same",
                           path, saved->models[RT_TARGET].slots, model->slots[RT_TARGET]);
        if (!has_sound_counts(saved, i, evicts) ||
            part->policy_bytes != own->models[i].policy_bytes)
            return refuse(session, path, "its counts contradict each other");
        fits = fits && part->held <= model->slots[i];
    }
    if (!fits)
        return rt_fail(&session->model->error, TANDEM_FULL,
                       "%s: the session cannot be restored: it has %u tokens, and there is room "
                       "for %u; allow more slots or memory",
                       path, saved->length, model->tokens);
    return TANDEM_OK;
}

/* A restored session's own words: no id and no count may lead out of its memory. */
static bool is_sound(const tandem_session *session, const saved_header *header)
{
    const tandem_artefact *artefact = session->model->artefact;
    bool sound = true;
    for (uint32_t i = 0; i < header->length; i++)
        sound = sound && (uint32_t)session->ids[i] < artefact->models[RT_TARGET].vocabulary;
    for (uint32_t which = 0; which < artefact->model_count; which++) {
        const int32_t *counts = (const int32_t *)(const void *)session->caches[which].state;
        const tandem_model_info *info = &artefact->models[which];
        for (uint32_t layer = 0; layer < info->layers; layer++)
            for (uint32_t head = 0; head < info->caches[layer].kv_heads; head++)
                sound = sound && (uint32_t)counts[layer * info->count_stride + head] ==
                                     header->models[which].held;
    }
    return sound;
}

static tandem_status read_session(tandem_session *session, saved_file *self)
{
    saved_header header;
    tandem_status status = check_whole(session, self, &header);
    if (status != TANDEM_OK)
        return status;
    const saved_header own = describe(session);
    status = check_fit(session, self->path, &header, &own);
    if (status != TANDEM_OK)
        return status;
    if (lseek(self->file, sizeof header, SEEK_SET) < 0)
        return refuse(session, self->path, strerror(errno));
    move_session(self, session, &header);
    if (self->failure != 0 || !is_sound(session, &header))
        return refuse(session, self->path, "the file changed while it was read");
    session->length = header.length;
    session->number = header.number;
    session->round = header.round;
    for (uint32_t i = 0; i < header.model_count; i++)
        session->caches[i].fed = header.models[i].fed;
    return TANDEM_OK;
}

tandem_status rt_restore(tandem_session *session, const char *path)
{
    if (session->length > 0)
        return refuse(session, path, "the session is not empty");
    saved_file self = {.path = path, .file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (self.file < 0)
        return refuse(session, path, strerror(errno));
    tandem_status status = read_session(session, &self);
    close(self.file);
    if (status != TANDEM_OK)
        rt_session_clear(session);
    return status;
}
