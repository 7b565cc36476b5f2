/* An application of a compiled library or object: continues a prompt. Arguments: the prompt, how
 * many tokens and, for an object, the file with its weights.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "libpoet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool write_piece(void *user, const tandem_piece *piece)
{
    return fwrite(piece->text, 1, piece->bytes, user) == piece->bytes;
}

int main(int argc, char **argv)
{
    const tandem_artefact *artefact = tandem_poet_query(TANDEM_ABI_VERSION);
    tandem_model *model;
    tandem_session *session;
    tandem_error error;
    if (argc < 3 || artefact == NULL)
        return 2;
    const tandem_api *tandem = artefact->api;
    tandem_options choices = {0};
    choices.payload = argc > 3 ? argv[3] : NULL;
    if (tandem->open(artefact, &choices, &error, &model) != TANDEM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    tandem_generate_options options = {0};
    options.max_tokens = (uint32_t)atoi(argv[2]);
    options.ignore_end = true;
    if (tandem->session_create(model, &session) != TANDEM_OK ||
        tandem->feed_text(session, argv[1], strlen(argv[1])) != TANDEM_OK ||
        tandem->generate(session, &options, write_piece, stdout) != TANDEM_OK) {
        fprintf(stderr, "%s\n", tandem->error(model));
        return 1;
    }
    tandem->close(model);
    return 0;
}
