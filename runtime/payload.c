/* Finding and mapping the packed weights that end the artefact's file.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char own_file[] = "/proc/self/exe";

/* Reads the trailer; *found says whether the file ends with one at all. */
static tandem_status read_trailer(int file, const char *path, tandem_error *error,
                                  uint64_t *file_bytes, tandem_payload_trailer *trailer,
                                  bool *found)
{
    struct stat status;
    if (fstat(file, &status) != 0)
        return rt_fail(error, TANDEM_FAILED, "%s: %s", path, strerror(errno));
    *file_bytes = (uint64_t)status.st_size;
    *found = false;
    if (*file_bytes < sizeof *trailer)
        return TANDEM_OK;
    off_t start = status.st_size - (off_t)sizeof *trailer;
    if (pread(file, trailer, sizeof *trailer, start) != (ssize_t)sizeof *trailer)
        return rt_fail(error, TANDEM_FAILED, "%s: cannot read its last %zu bytes", path,
                       sizeof *trailer);
    *found = memcmp(trailer->magic, "TANDEMPL", sizeof trailer->magic) == 0;
    return TANDEM_OK;
}

static tandem_status check_trailer(const tandem_artefact *artefact, const char *path,
                                   uint64_t file_bytes, const tandem_payload_trailer *trailer,
                                   tandem_error *error)
{
    if (trailer->header_hash != artefact->header_hash)
        return rt_fail(error, TANDEM_REFUSED,
                       "%s: the weights at its end (header %016llx) belong to another program than "
                       "\"%s\" (header %016llx)",
                       path, (unsigned long long)trailer->header_hash, artefact->name,
                       (unsigned long long)artefact->header_hash);
    uint64_t room = file_bytes - sizeof *trailer;
    if (trailer->bytes != artefact->payload_bytes || trailer->offset > room ||
        trailer->bytes > room - trailer->offset || trailer->offset % TANDEM_PAGE_BYTES != 0)
        return rt_fail(error, TANDEM_REFUSED,
                       "%s: its last bytes place %llu bytes of weights at %llu of %llu, but the "
                       "program has %llu at a multiple of 4096: the file is damaged",
                       path, (unsigned long long)trailer->bytes,
                       (unsigned long long)trailer->offset, (unsigned long long)file_bytes,
                       (unsigned long long)artefact->payload_bytes);
    if (trailer->hash != artefact->payload_hash)
        return rt_fail(error, TANDEM_REFUSED,
                       "%s: the hash of its weights is noted as %016llx, but the program was made "
                       "for %016llx: the file is damaged",
                       path, (unsigned long long)trailer->hash,
                       (unsigned long long)artefact->payload_hash);
    return TANDEM_OK;
}

static tandem_status map_range(int file, const char *path, const tandem_payload_trailer *trailer,
                               bool populate, tandem_error *error, rt_payload *payload)
{
    /* The offset is a multiple of 4096, but pages may be larger. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), before = trailer->offset % page;
    size_t bytes = (size_t)(trailer->bytes + before);
    void *mapping = mmap(NULL, bytes, PROT_READ, MAP_SHARED | (populate ? MAP_POPULATE : 0), file,
                         (off_t)(trailer->offset - before));
    if (mapping == MAP_FAILED)
        return rt_fail(error, TANDEM_FAILED, "%s: cannot map %zu bytes of weights: %s", path, bytes,
                       strerror(errno));
    *payload = (rt_payload){(const unsigned char *)mapping + before, mapping, bytes};
    return TANDEM_OK;
}

/* Maps the payload of one file, called `name` in messages; *found as in read_trailer. */
static tandem_status map_file(const tandem_artefact *artefact, const char *path, const char *name,
                              bool populate, tandem_error *error, rt_payload *payload, bool *found)
{
    *found = false;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return rt_fail(error, TANDEM_FAILED, "%s: cannot open it to map the weights: %s", name,
                       strerror(errno));
    uint64_t file_bytes = 0;
    tandem_payload_trailer trailer = {0};
    tandem_status status = read_trailer(file, name, error, &file_bytes, &trailer, found);
    if (status == TANDEM_OK && *found)
        status = check_trailer(artefact, name, file_bytes, &trailer, error);
    if (status == TANDEM_OK && *found)
        status = map_range(file, name, &trailer, populate, error, payload);
    close(file);
    return status;
}

/* The executable's path for messages; how it is opened when it has no readable one. */
static const char *own_name(char *name, size_t room)
{
    ssize_t length = readlink(own_file, name, room - 1);
    if (length <= 0)
        return own_file;
    name[length] = '\0';
    return name;
}

/* Refuses a file without weights at its end: one that the application named, or the one that the
 * artefact lies in. */
static tandem_status refuse_file(const tandem_artefact *artefact, const char *path, bool named,
                                 tandem_error *error)
{
    return rt_fail(error, TANDEM_REFUSED,
                   "%s: the file does not end with the weights of \"%s\": it was cut, stripped or "
                   "copied in part%s",
                   path, artefact->name,
                   named ? ", or is another one"
                         : "; or it was linked from an object, whose file of weights the "
                           "application has to name (tandem_options.payload)");
}

tandem_status rt_payload_map(const tandem_artefact *artefact, const char *path, bool populate,
                             tandem_error *error, rt_payload *payload)
{
    *payload = (rt_payload){0};
    if (artefact->payload_bytes == 0)
        return TANDEM_OK;
    bool found = false;
    const bool named = path != NULL;
    char name[256];
    tandem_status status = TANDEM_OK;
    if (!named) {
        /* The artefact lies in a shared library that the loader knows, or in the executable. What
         * the loader calls a static program may be no path at all. */
        Dl_info library;
        if (dladdr(artefact, &library) != 0 && library.dli_fname != NULL)
            status = map_file(artefact, library.dli_fname, library.dli_fname, populate, error,
                              payload, &found);
        if (found)
            return status;
        path = own_name(name, sizeof name);
        status = map_file(artefact, own_file, path, populate, error, payload, &found);
    } else {
        status = map_file(artefact, path, path, populate, error, payload, &found);
    }
    if (status == TANDEM_OK && !found)
        return refuse_file(artefact, path, named, error);
    return status;
}

void rt_payload_unmap(rt_payload *payload)
{
    if (payload->mapping != NULL)
        munmap(payload->mapping, payload->mapping_bytes);
    *payload = (rt_payload){0};
}
