#!/usr/bin/env bash
# Compiled code against the reference evaluator, node by node, on the default pair.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
for model in target drafter; do
    for weights in keep f32 f16 q8; do
        check "${model}_${weights}" "$tandem" verify --target graphs/$model.xml --weights=$weights
    done
done
for kv in f32 q8; do
    check "target_kv_$kv" "$tandem" verify --target graphs/target.xml --kv=$kv
done
check target_without_wide_vectors "$tandem" verify --target graphs/target.xml --cpu x86-64-v3
