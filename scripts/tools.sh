# Sourced by scripts/lock and scripts/audit: their tools in .tools, with checked hashes; $tools is the folder of the programs.
#   source scripts/tools.sh [--tools]     --tools: the newest versions, to be written down by scripts/lock
tools=.tools/bin
if [ "${1:-}" = --tools ]; then
    rm -rf .tools
    python3 -m venv .tools
    "$tools/pip" install --quiet --disable-pip-version-check --requirement requirements/tools.in
elif ! grep -qsxF "$(sha256sum <requirements/tools.txt)" .tools/made-from; then
    rm -rf .tools
    python3 -m venv .tools
    "$tools/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
        --requirement requirements/tools.txt
    sha256sum <requirements/tools.txt >.tools/made-from
fi
