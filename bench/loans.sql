-- The rows of one application opened, as the node writes them, with random content of the same length (bench/src/loans.rs).
SELECT md5(random()::text) AS id, md5(random()::text) AS person \gset
\set sealed 180
BEGIN;
SELECT hash, status, sealed FROM answered WHERE client = 'bank' AND key = :id;
SELECT set_ms, lifts_ms, sealed FROM ban WHERE person = :person;
SELECT change, at_ms FROM phone_change WHERE phone = :person;
SELECT creditor, opened_ms, sum, counts, state FROM application WHERE person = :person AND opened_ms >= 0;
INSERT INTO application (id, creditor, person, phone, turn, sealed, opened_ms, sum, counts, state, due_ms)
    VALUES (:id, 'bank', :person, :person, 1, repeat('s', :sealed), 1764000000000, 25000000, 1, 'confirming', 1764000000000);
INSERT INTO event (application, n, at_ms, body) VALUES (:id, 0, 1764000000000, repeat('e', 200)),
    (:id, 1, 1764000000000, repeat('e', 700));
INSERT INTO look (at_ms, who, what, subject) VALUES (1764000000000, 'bank', 'open', :id);
INSERT INTO answered (client, key, hash, status, sealed, at_ms)
    VALUES ('bank', :id, repeat('h', 64), 201, repeat('a', 3000), 1764000000000);
COMMIT;
