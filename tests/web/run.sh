#!/bin/sh
# Tests of the browser module and of the pages without a browser, with fake clocks, brokers and peer connections; of their
# types, of the module's examples and of all JavaScript by a linter; of the vendored chart library against the npm package; and
# of the links between the documents. Requires Node 18.18 or later, and npm, which fetches the packages of the lock file.
set -eu
cd "$(dirname "$0")"
# shellcheck source=tests/machine.sh
. ../machine.sh
npm_packages
(cd ../api/clients && npm_packages)
../api/clients/node_modules/.bin/openapi-typescript ../../src/web/openapi.json -o node_modules/openapi.d.ts >/dev/null
npx --no-install tsc --project .
npx --no-install tsc --project tsconfig.module.json
npx --no-install tsc --project tsconfig.examples.json
npx --no-install tsc --project tsconfig.pages.json
(cd ../.. && tests/web/node_modules/.bin/eslint --config tests/web/eslint.config.mjs src/web tests/web tests/browser tests/examples)
for file in LICENSE dist/uPlot.iife.min.js dist/uPlot.min.css; do
    cmp "node_modules/uplot/$file" "../../src/web/vendor/uplot/${file##*/}"
done
exec node --test --test-reporter=dot ./*.test.mjs
