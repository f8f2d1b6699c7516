#!/bin/bash
# Waits for up to a minute until PostgreSQL answers, then runs the command given: a new pod's first connections may be
# refused. Where: libpq's variables. If PostgreSQL does not answer, the command says why.
said=
until pg_isready --quiet || [ "$SECONDS" -ge 60 ]; do
  [ "$said" ] || echo "PostgreSQL at $PGHOST does not answer yet; this waits for up to 60 s." >&2
  said=yes
  sleep 1
done
exec "$@"
