# shellcheck shell=sh
# What the documents tell people to run, for tests that run it as it stands and source this at the top of the tree.

# documented SECTION LANGUAGE FILE: writes the code blocks of that language in the section of docs/OPERATE.md into FILE, or ends the script.
documented() {
    awk -v heading="## $1" -v fence="\`\`\`$2" '
        /^## / { ours = $0 == heading }
        ours && $0 == fence { inside = 1; next }
        /^```$/ { inside = 0 }
        inside' docs/OPERATE.md >"$3"
    [ -s "$3" ] || { echo "docs/OPERATE.md has no $2 example in \"$1\"" >&2 && exit 1; }
}
