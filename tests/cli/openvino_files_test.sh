#!/usr/bin/env bash
# Every OpenVINO IR of ../shared/data/openvino: listed by --summary or refused in one sentence.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
files=$shared/data/openvino
if [ ! -d "$files" ]; then
    skip openvino_files "../shared/data/openvino is not there"
    exit
fi

for file in "$files"/*.xml; do
    name=$(basename "$file" .xml)
    name=${name//[^A-Za-z0-9_]/_}
    case "$name" in
        *MALFORMED*) check "refused_$name" refused 1 'xml.*line [0-9]+' "$tandem" import "$file" --summary ;;
        *) check "summary_$name" bash -c '"$1" import "$2" --summary 2>/dev/null | grep -q nodes' - "$tandem" "$file" ;;
    esac
    case "$name" in
        tinyllama*) ;;
        *) check "not_compiled_$name" refused 1 'xml' "$tandem" compile --target "$file" \
            --weights=random:1 -o "$folder/out" ;;
    esac
done
