#!/bin/sh
# The browser module and the pages without a browser: their rules, on clocks, brokers and peer connections that are driven
# by hand; the module's types and its examples; the links between the documents. Needs Node 18.15
# or later and npm, which fetches the TypeScript compiler of the lock file.
set -eu
cd "$(dirname "$0")"
npm ci --prefer-offline --loglevel=error
npx --no-install tsc --project .
exec node --test --test-reporter=dot ./*.test.mjs
