#!/bin/sh
# Tests of the browser module and of the pages without a browser, with fake clocks, brokers and peer connections; of the
# module's types and examples; and of the links between the documents. Requires Node 18.15 or later, and npm, which
# fetches the TypeScript compiler of the lock file.
set -eu
cd "$(dirname "$0")"
npm ci --prefer-offline --loglevel=error
npx --no-install tsc --project .
exec node --test --test-reporter=dot ./*.test.mjs
