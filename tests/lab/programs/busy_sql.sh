#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What sqlite3 is to do: fill a database and query it, $1 times over.
cat <<END
PRAGMA synchronous = off;
CREATE TABLE bird (id INTEGER PRIMARY KEY, name TEXT, weight INTEGER, ring TEXT);
CREATE INDEX by_weight ON bird (weight);
END
round=0
while [ $round -lt "$1" ]; do
	cat <<END
WITH RECURSIVE n(i) AS (SELECT $round * 5000 UNION ALL SELECT i + 1 FROM n WHERE i < $round * 5000 + 4999)
INSERT INTO bird SELECT i, 'limosa ' || (i * 7919 % 10007), i * 104729 % 5003, hex(i * 31337) FROM n;
SELECT $round, count(*), sum(weight), max(name), count(DISTINCT weight) FROM bird;
SELECT id, name, ring FROM bird WHERE weight BETWEEN $round AND $round + 3 ORDER BY name, id LIMIT 3;
UPDATE bird SET weight = weight + 1 WHERE id % 97 = $round % 97;
DELETE FROM bird WHERE id % 101 = $round % 101;
END
	round=$((round + 1))
done
echo "SELECT count(*), total(weight) FROM bird; PRAGMA integrity_check;"
