-- The rules of rules/src/catalogue.rs as one query over a Parquet file of recorded calls, for DuckDB. bench/replay fills
-- in the names in braces from the plan's file, puts the tables there, and runs the query.
--
-- A party is a BIGINT: a number is its value, 7 to 15 digits of which the first is not 0. Below that: absent 0, restricted
-- -1, a name -8, otherwise malformed -9, a short code -(10^digits + value).
--   trunks(trunk, class, national)
--   plan(k, owner, kind, lengths): k is six digits under the home country code, three elsewhere
--   possible, home: bits by the first four digits (and the length), what the plan says of them
--   listed(number, ...), listed_prefixes(prefix of seven digits, ...): until when each entry counts; registered(trunk, number)
-- Left out here and there: caps (state over calls), other operators, URIs and parameters in number fields.

-- A field without its separators; none where it is no number. Nearly all are plain digits, for which a cast is enough.
CREATE MACRO bare(t) AS CASE WHEN regexp_full_match(t, '\+?[-0-9.() ]*[0-9][-0-9.() ]*')
    THEN translate(t, '+-.() ', '') END;
CREATE MACRO plain(t) AS CASE WHEN t <> '' THEN TRY_CAST(t AS BIGINT) END;
CREATE MACRO value_of(t, v) AS CASE WHEN v IS NOT NULL THEN v WHEN t <> '' THEN TRY_CAST(bare(t) AS BIGINT) END;
CREATE MACRO count_of(t, v) AS CASE WHEN v IS NOT NULL THEN strlen(t) - starts_with(t, '+')::BIGINT
    WHEN t <> '' THEN coalesce(strlen(bare(t)), 0) ELSE 0 END;

CREATE MACRO ten_to(n) AS CASE n WHEN 10 THEN 10000000000 WHEN 11 THEN 100000000000 WHEN 12 THEN 1000000000000
    ELSE (10 ** n)::BIGINT END;

CREATE MACRO six(v) AS CASE WHEN v < 1000000 THEN NULL WHEN v BETWEEN 10000000000 AND 99999999999 THEN v // 100000
    WHEN v < 10000000 THEN v // 10 WHEN v < 100000000 THEN v // 100 WHEN v < 1000000000 THEN v // 1000
    WHEN v < 10000000000 THEN v // 10000 WHEN v < 1000000000000 THEN v // 1000000
    WHEN v < 10000000000000 THEN v // 10000000 WHEN v < 100000000000000 THEN v // 100000000
    ELSE v // 1000000000 END;
CREATE MACRO seven(v) AS CASE WHEN v < 1000000 THEN NULL WHEN v BETWEEN 10000000000 AND 99999999999 THEN v // 10000
    WHEN v < 10000000 THEN v WHEN v < 100000000 THEN v // 10 WHEN v < 1000000000 THEN v // 100
    WHEN v < 10000000000 THEN v // 1000 WHEN v < 1000000000000 THEN v // 100000
    WHEN v < 10000000000000 THEN v // 1000000 WHEN v < 100000000000000 THEN v // 10000000
    ELSE v // 100000000 END;
CREATE MACRO digits_of(v) AS CASE WHEN v BETWEEN 10000000000 AND 99999999999 THEN 11
    WHEN v < 10000000 THEN 7 WHEN v < 100000000 THEN 8 WHEN v < 1000000000 THEN 9 WHEN v < 10000000000 THEN 10
    WHEN v < 1000000000000 THEN 12 WHEN v < 10000000000000 THEN 13 WHEN v < 100000000000000 THEN 14 ELSE 15 END;
CREATE MACRO plan_key(s) AS CASE WHEN s BETWEEN {home_from}0 AND {home_to}9 THEN s // 10 ELSE s // 10000 END;

-- A whole number of a code that somebody has, of a length that is possible there.
CREATE MACRO is_assigned(v, n) AS n BETWEEN 7 AND 15 AND v >= ten_to(n - 1)
    AND get_bit(getvariable('possible'), (six(v) // 100 * 16 + n)::INT) = 1;
CREATE MACRO full_number(v, n) AS CASE WHEN n BETWEEN 7 AND 15 AND v >= ten_to(n - 1) THEN v
    WHEN n BETWEEN {cc_digits} + 1 AND {cc_digits} + 6 AND v // ten_to(n - {cc_digits}) = {cc}
        AND -(ten_to(n - {cc_digits}) + v % ten_to(n - {cc_digits})) IN ({emergency})
        THEN -(ten_to(n - {cc_digits}) + v % ten_to(n - {cc_digits}))
    ELSE -9 END;
CREATE MACRO home_number(v) AS {cc} * ten_to({nsn}) + v;

CREATE MACRO party(t, v, n, national) AS CASE
    WHEN t = '' THEN 0
    WHEN v IS NULL THEN CASE WHEN n > 0 THEN -9 WHEN lower(trim(t)) IN ('anonymous', 'unavailable', '') THEN 0
        WHEN lower(trim(t)) = 'restricted' THEN -1 ELSE -8 END
    WHEN starts_with(t, '+') THEN full_number(v, n)
    WHEN n <= 6 AND (n IN ({short_lengths}) OR -(ten_to(n) + v) IN ({emergency})) THEN -(ten_to(n) + v)
    WHEN national THEN CASE
        WHEN n > {ip_digits} + 6 AND v // ten_to(n - {ip_digits}) = {ip}
            AND is_assigned(v % ten_to(n - {ip_digits}), n - {ip_digits}) THEN v % ten_to(n - {ip_digits})
        WHEN n = {nsn} THEN home_number(v)
        WHEN n = {nsn} + {np_digits} AND v // ten_to({nsn}) = {np} THEN home_number(v % ten_to({nsn}))
        ELSE full_number(v, n) END
    WHEN is_assigned(v, n) THEN v
    WHEN n = {nsn} AND get_bit(getvariable('home'), (six(home_number(v)) // 100)::INT) = 1 THEN home_number(v)
    ELSE full_number(v, n) END;

-- The rules for one calling number, asked in order: treatment * 100 + the rule's place in the order.
-- Treatments: 0 allow, 2 mark international, 4 mark suspected, 5 withhold, 6 block. $ names are of the number judged.
-- judged:
CASE
    WHEN called IN ({emergency}) THEN 0
    WHEN called > 0 AND coalesce(time < lb.roaming_numbers OR time < bpre.roaming_numbers, false) THEN 1
    WHEN time < $list.allow OR time < $prefix.allow THEN 2
    WHEN class = 0 AND $a = 0 THEN 603
    WHEN ($a IN (-8, -9) OR $plan.owner IN (3, 4) OR ($a > 0 AND ($plan.lengths >> digits_of($a)) & 1 = 0)
        OR ($a > 0 AND $plan.owner IS NULL)) AND NOT $exempt(4) THEN 604
    WHEN ($a < -9 OR $plan.kind IN (4, 5, 6) OR time < $list.do_not_originate OR time < $prefix.do_not_originate
        OR time < $list.block OR time < $prefix.block) AND NOT $exempt(5) THEN 605
    WHEN $plan.owner = 0 AND ($plan.kind = 0 OR time < $list.unallocated OR time < $prefix.unallocated)
        AND NOT $exempt(6) THEN 606
    WHEN class = 1 AND time < $registered.until THEN 7
    WHEN class = 1 AND NOT $exempt(7) THEN 607
    WHEN class = 0 AND $plan.owner = 0 AND pr.owner = 1 AND (pr.lengths >> digits_of(redirecting)) & 1 = 1
        AND NOT $exempt(8) THEN 508
    WHEN class = 0 AND $plan.kind IN (1, 3) AND NOT $exempt(9) THEN 609
    WHEN class = 0 AND $plan.kind = 2 AND (time < $list.no_outbound_roaming OR time < $prefix.no_outbound_roaming)
        AND NOT $exempt(10) THEN 610
    WHEN class = 0 AND (time < lb.no_international OR time < bpre.no_international) AND NOT $exempt(13) THEN 613
    WHEN class = 0 AND $plan.kind = 2 AND NOT $exempt(14) THEN 514
    WHEN class = 2 AND $plan.owner = 1 AND NOT $exempt(15) THEN 415
    WHEN class <= 1 AND NOT $exempt(20) THEN 220
    ELSE 21 END
-- query:
SELECT verdict, count(*) AS calls
FROM (
    SELECT CASE WHEN second // 100 > network // 100 THEN second ELSE network END AS verdict
    FROM (
        SELECT {judged_network} AS network, CASE WHEN presented IS NOT NULL THEN {judged_presented} END AS second
        FROM (
            SELECT *, seven(a) AS a7, seven(presented) AS p7, seven(called) AS b7, seven(redirecting) AS r7,
                CASE WHEN class = 1 THEN trunk END AS dedicated
            FROM (
                SELECT time, trunk, class, called, redirecting, a,
                    CASE WHEN b = a OR b IN (0, -8) THEN NULL ELSE b END AS presented
                FROM (
                    SELECT time, trunk, class, called, redirecting,
                        CASE WHEN calling = 0 OR (calling = -8 AND presentation > 0) THEN presentation ELSE calling END AS a,
                        CASE WHEN calling = 0 OR (calling = -8 AND presentation > 0) THEN 0 ELSE presentation END AS b
                    FROM (
                        SELECT time, trunk, class, party(calling, v1, n1, national) AS calling,
                            party(presentation, v2, n2, national) AS presentation, party(called, v3, n3, national) AS called,
                            party(redirecting, v4, n4, national) AS redirecting
                        FROM (
                            SELECT time, f.trunk, class, national, calling, presentation, called, redirecting,
                                value_of(calling, v1) AS v1, count_of(calling, v1) AS n1,
                                value_of(presentation, v2) AS v2, count_of(presentation, v2) AS n2,
                                value_of(called, v3) AS v3, count_of(called, v3) AS n3,
                                value_of(redirecting, v4) AS v4, count_of(redirecting, v4) AS n4
                            FROM (
                                SELECT time, trunk, calling, presentation, called, redirecting, plain(calling) AS v1,
                                    plain(presentation) AS v2, plain(called) AS v3, plain(redirecting) AS v4
                                FROM read_parquet('{file}')
                            ) f JOIN trunks ON f.trunk = trunks.trunk
                        )
                    )
                )
            )
        ) c
        LEFT JOIN plan pa ON plan_key(a7) = pa.k
        LEFT JOIN plan pp ON plan_key(p7) = pp.k
        LEFT JOIN plan pr ON plan_key(r7) = pr.k
        LEFT JOIN listed la ON a = la.number
        LEFT JOIN listed lp ON presented = lp.number
        LEFT JOIN listed lb ON called = lb.number
        LEFT JOIN listed_prefixes apre ON a7 = apre.prefix
        LEFT JOIN listed_prefixes ppre ON p7 = ppre.prefix
        LEFT JOIN listed_prefixes bpre ON b7 = bpre.prefix
        LEFT JOIN registered ra ON dedicated = ra.trunk AND a = ra.number
        LEFT JOIN registered rp ON dedicated = rp.trunk AND presented = rp.number
    )
)
GROUP BY verdict
