/* tandem_train_orderer: `tandem train-orderer` as a program of its own, without the compiler behind
 * it, for machines that only train.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    return cli_train_orderer(argc, argv);
}
