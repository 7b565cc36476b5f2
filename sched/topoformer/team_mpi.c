/* A team of the processes that mpirun started.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No call's status is looked at: MPI's own handler of errors ends all processes. */
#include "sched/topoformer/team.h"

#include <mpi.h>

topo_team topo_team_join(void)
{
    int provided, number, size;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &number);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return (topo_team){(uint32_t)number, (uint32_t)size};
}

void topo_team_leave(void)
{
    MPI_Finalize();
}

/* A pair as MPI_MAXLOC compares them. */
typedef struct numbered {
    int status, number;
} numbered;

static void receive(void *data, size_t size, uint32_t from)
{
    MPI_Recv(data, (int)size, MPI_BYTE, (int)from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

void topo_team_take(const topo_team *team, void *data, size_t size)
{
    if (team->number > 0)
        receive(data, size, team->number - 1);
}

void topo_team_pass(const topo_team *team, void *data, size_t size)
{
    if (team->size == 1)
        return;
    const uint32_t next = (team->number + 1) % team->size;
    MPI_Send(data, (int)size, MPI_BYTE, (int)next, 0, MPI_COMM_WORLD);
    if (team->number == 0)
        receive(data, size, team->size - 1);
}

void topo_team_share(const topo_team *team, void *data, size_t size)
{
    if (team->size > 1)
        MPI_Bcast(data, (int)size, MPI_BYTE, 0, MPI_COMM_WORLD);
}

td_status topo_team_agree(const topo_team *team, td_context *context, td_status status)
{
    if (team->size == 1)
        return status;
    const numbered own = {(int)status, (int)team->number};
    numbered worst;
    MPI_Allreduce(&own, &worst, 1, MPI_2INT, MPI_MAXLOC, MPI_COMM_WORLD);
    if (worst.status != TD_OK)
        MPI_Bcast(context->message, (int)sizeof context->message, MPI_BYTE, worst.number,
                  MPI_COMM_WORLD);
    return (td_status)worst.status;
}
