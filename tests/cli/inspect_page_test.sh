#!/usr/bin/env bash
# The page of tandem inspect in headless Chromium, driven by tests/inspect/page_test.mjs. Wants
# chromium, node and playwright-core, which npm puts into the build folder; skipped without them.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$folder"

playwright='playwright-core@1.65.1'
web=$build/web

give_up() {
    skip the_page_in_a_browser "$1"
    exit 0
}
chromium=$(command -v chromium || command -v chromium-browser) || give_up "chromium is not installed (./dev browser installs it)"
command -v npm >/dev/null && command -v node >/dev/null || give_up "npm is not installed (./dev browser installs it)"
if [ "$(cat "$web/installed" 2>/dev/null)" != "$playwright" ]; then
    mkdir -p "$web" && echo '{"private": true}' >"$web/package.json"
    timeout 120 npm install --prefix "$web" --no-audit --no-fund --no-save --ignore-scripts "$playwright" >npm.log 2>&1 ||
        give_up "npm cannot install $playwright: $(grep -m 1 'npm error' npm.log)"
    echo "$playwright" >"$web/installed"
fi

# Both forms of the same facts; a work limit, so that they are the same.
write_facts() { # NAME, arguments
    local name=$1
    shift
    "$tandem" inspect "$@" --html "$name.html" && "$tandem" inspect "$@" --json >"$name.json"
}

# Names that would be markup, script or line ends somewhere.
cat >hostile.graphml <<'END'
<graphml><key id="b" for="node" attr.name="bytes" attr.type="long"/><key id="o" for="node" attr.name="op" attr.type="string"/>
<graph edgedefault="directed">
<node id="&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"><data key="b">4000</data><data key="o">&lt;img src=x onerror=alert(2)&gt;</data></node>
<node id="&lt;img src=x onerror=alert(3)&gt;"><data key="b">3000</data><data key="o">constructor</data></node>
<node id="&lt;!--&lt;script&gt;"><data key="b">2000</data><data key="o">__proto__</data></node>
<node id="line&#x2028;and&#x2029;paragraph"><data key="b">1000</data></node>
<node id="&quot;quoted\&quot; 'too' \u003c"><data key="b">500</data></node>
<edge source="&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" target="&lt;!--&lt;script&gt;"/>
</graph></graphml>
END

# A long chain with side branches: 20000 nodes, written as text.
awk 'BEGIN { n = 20000
    print "<graphml><key id=\"b\" for=\"node\" attr.name=\"bytes\" attr.type=\"long\"/><graph edgedefault=\"directed\">"
    for (i = 0; i < n; i++) printf "<node id=\"n%d\"><data key=\"b\">%d</data></node>\n", i, 64 * (1 + i * 7919 % 1000)
    for (i = 1; i < n; i++) { printf "<edge source=\"n%d\" target=\"n%d\"/>\n", i - 1, i
        if (i > 40) printf "<edge source=\"n%d\" target=\"n%d\"/>\n", i - 2 - i * 104729 % 38, i }
    print "</graph></graphml>" }' >large.graphml

graphs=$source_folder/graphs
"$tandem" generate layered --nodes 300 --seed 7 -o several.graphml
pages_are_written() {
    write_facts several several.graphml --work-limit 200000 && write_facts hostile hostile.graphml --work-limit 200000 &&
        write_facts program --target "$graphs/target.xml" --drafter "$graphs/drafter.xml" --tokenizer "$graphs/tokenizer.json" &&
        write_facts large large.graphml --orderer dfs --against file
}
check pages_are_written pages_are_written

# Modules are looked for beside the script.
cp "$source_folder/tests/inspect/page_test.mjs" "$web/"
timeout 300 node "$web/page_test.mjs" "$chromium" several.html several.json hostile.html hostile.json \
    program.html program.json large.html large.json
