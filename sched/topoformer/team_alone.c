/* A team of one process.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/team.h"

topo_team topo_team_join(void)
{
    return (topo_team){.size = 1};
}

void topo_team_leave(void)
{
}

void topo_team_take(const topo_team *team, void *data, size_t size)
{
    (void)team, (void)data, (void)size;
}

void topo_team_pass(const topo_team *team, void *data, size_t size)
{
    (void)team, (void)data, (void)size;
}

void topo_team_share(const topo_team *team, void *data, size_t size)
{
    (void)team, (void)data, (void)size;
}

td_status topo_team_agree(const topo_team *team, td_context *context, td_status status)
{
    (void)team, (void)context;
    return status;
}
