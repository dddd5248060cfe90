"""SQL statements for the main tables of a seeded database: users, tokens, payments, transfers, sessions.

Values derive from the row number, so equal sizes give equal data. User 1 owns ten of each thousand tokens. The last
digit of a token's number is its state: 0 revoked, 1 and 2 not used yet, 3 running, all others expired.
"""

TABLES = (
    "users", "accounts", "access_tokens", "payments", "transfers", "proxy_sessions", "token_usage_days",
    "audit_entries", "logins",
)  # fmt: skip

# Disabled: they would count each of millions of rows separately.
TRIGGERS = (("payments", "payments_count_settled"), ("transfers", "transfers_count_deposit"))

FUNCTIONS = (
    """CREATE FUNCTION pg_temp.its_id(kind text, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS
        $$ SELECT CAST(md5(kind || ' ' || n) AS uuid) $$""",
    # A pseudo-random fraction from 0 to 1.
    """CREATE FUNCTION pg_temp.chance(n bigint) RETURNS float IMMUTABLE LANGUAGE sql AS
        $$ SELECT (n * 2654435761 % 1000003) / 1000003.0 $$""",
)

# Number, owner, price and state of each token, which several tables need.
PLAN = """
    CREATE TEMPORARY TABLE plan ON COMMIT DROP AS
    SELECT n, pg_temp.its_id('token', n) AS id, left(md5('prefix ' || n), 8) AS prefix, owner,
        pg_temp.its_id('user', owner) AS user_id, pg_temp.its_id('wallet', owner) AS wallet_id,
        n % 10 AS fate, hours, base, more, base + more * CAST(:hour_price AS numeric) AS price,
        (hours + more) * 3600 AS seconds,
        CAST(:moment AS timestamptz) - age AS activated_at,
        CAST(:moment AS timestamptz) - age - interval '10 minutes' AS created_at
    FROM (SELECT *, (hours + more) * interval '1 hour' * CASE WHEN n % 10 = 3 THEN 0.5 ELSE 1 END
            + CASE WHEN n % 10 = 3 THEN interval '0' ELSE interval '360 days' * pg_temp.chance(n) END AS age
        FROM (SELECT n, CASE WHEN n % 1000 < 10 THEN 1 ELSE 1 + n * 7919 % :users END AS owner,
            (CAST(:hours AS int[]))[CAST(1 + n / 10 % :prices AS int)] AS hours,
            (CAST(:bases AS numeric[]))[CAST(1 + n / 10 % :prices AS int)] AS base,
            :extensions + CASE WHEN n <= :one_more THEN 1 ELSE 0 END AS more
        FROM generate_series(1, CAST(:tokens AS bigint)) AS n) AS numbered) AS aged
    """

_USERS = """
    INSERT INTO users (id, email, username, full_name, password_hash, password_version, is_active, is_superuser,
        referral_code, referrer_id, created_at)
    SELECT pg_temp.its_id('user', n), 'seed' || n || '@example.test', 'seed' || n, 'Seed ' || n, :password, 1,
        n % 50 <> 0, n = 2, upper(left(md5('code ' || n), 12)),
        CASE WHEN n > 100 AND n % 20 = 0 THEN pg_temp.its_id('user', 1 + n % 100) END,
        CAST(:moment AS timestamptz) - interval '730 days' * pg_temp.chance(n)
    FROM generate_series(1, :users) AS n
    """
_WALLETS = """
    INSERT INTO accounts (id, kind, user_id)
    SELECT pg_temp.its_id('wallet', n), 'wallet', pg_temp.its_id('user', n) FROM generate_series(1, :users) AS n
    """
_TOKENS = """
    INSERT INTO access_tokens (id, user_id, name, prefix, secret_hash, origin, scope, duration_hours, paid_seconds,
        paused_seconds, credited_seconds, price_paid, activated_at, revoked_at, refund_amount, auto_renew, version,
        created_at)
    SELECT id, user_id, CASE WHEN n % 3 = 0 THEN '' ELSE 'Machine ' || n END, prefix,
        sha256(convert_to('seed ' || n, 'UTF8')), 'purchase',
        CASE WHEN n % 7 = 0 THEN 'certificates_only' ELSE 'full' END, hours, seconds, 0, 0, price,
        CASE WHEN fate >= 3 THEN activated_at END, CASE WHEN fate = 0 THEN activated_at END,
        CASE WHEN fate = 0 THEN price END, n % 50 = 3, 1, created_at
    FROM plan
    """
_PAYMENTS = """
    INSERT INTO payments (id, user_id, provider, provider_payment_id, amount_znc, amount_rub, rub_per_znc, status,
        return_url, checkout_url, expires_at, settled_at, created_at)
    SELECT pg_temp.its_id('payment', n * 100 + part), pg_temp.its_id('user', n), 'mock', 'seed-' || n || '-' || part,
        amount, amount * :rate, :rate, 'succeeded', '/wallet', '', at + interval '1 hour', at + interval '2 minutes', at
    FROM (SELECT n, 10 + ceil(coalesce(spent, 0) / :payments) AS amount FROM generate_series(1, :users) AS n
            LEFT JOIN (SELECT owner, sum(price) AS spent FROM plan GROUP BY owner) AS s ON s.owner = n) AS needed
        CROSS JOIN LATERAL (SELECT part, CAST(:moment AS timestamptz)
            - interval '700 days' * pg_temp.chance(n * 100 + part) AS at
            FROM generate_series(1, :payments) AS part) AS parts
    """
_UNPAID = """
    INSERT INTO payments (id, user_id, provider, provider_payment_id, amount_znc, amount_rub, rub_per_znc, status,
        return_url, checkout_url, expires_at, created_at)
    SELECT pg_temp.its_id('unpaid', n), pg_temp.its_id('user', n), 'mock', 'seed-unpaid-' || n, 50, 50 * :rate, :rate,
        CASE n % 3 WHEN 0 THEN 'pending' WHEN 1 THEN 'canceled' ELSE 'expired' END, '/wallet', '',
        CAST(:moment AS timestamptz) + interval '1 hour', CAST(:moment AS timestamptz) - n * interval '1 second'
    FROM generate_series(1, :users, 10) AS n
    """
# Deposits, purchases, extensions and refunds.
_TRANSFERS = """
    WITH platform AS (
        SELECT (SELECT id FROM accounts WHERE kind = 'payments_received') AS received,
            (SELECT id FROM accounts WHERE kind = 'sales') AS sales)
    INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
        reference_id, idempotency_key, created_at)
    SELECT gen_random_uuid(), 'deposit', received, w.id, amount_znc, 'Payment ' || p.id, 'payment', p.id,
        'deposit:' || p.id, settled_at
    FROM platform, payments p JOIN accounts w ON w.user_id = p.user_id AND w.kind = 'wallet'
    WHERE settled_at IS NOT NULL
    UNION ALL SELECT gen_random_uuid(), 'purchase', wallet_id, sales, base, 'Token for ' || hours || ' h', 'token', id,
        'purchase:' || id, created_at FROM platform, plan
    UNION ALL SELECT gen_random_uuid(), 'purchase', wallet_id, sales, :hour_price,
        '1 h more for token ' || prefix || '…', 'token', id, 'extend:' || id || ':' || part,
        created_at + part * interval '10 minutes'
    FROM platform, plan CROSS JOIN LATERAL generate_series(1, more) AS part
    UNION ALL SELECT gen_random_uuid(), 'refund', sales, wallet_id, price, 'Unused time of token ' || prefix || '…',
        'token', id, 'refund:' || id, activated_at FROM platform, plan WHERE fate = 0
    """
# The counts of the disabled triggers.
_PAYMENT_DAYS = """
    INSERT INTO payment_days (day, provider, payments, paid_rub, paid_znc, booked_znc)
    SELECT CAST(settled_at AT TIME ZONE 'UTC' AS date), provider, count(*), sum(amount_rub), sum(amount_znc),
        sum(amount_znc) FROM payments WHERE settled_at IS NOT NULL GROUP BY 1, 2
    """
_BALANCES = """
    UPDATE accounts SET balance = moved.total FROM (
        SELECT account_id, sum(amount) AS total FROM (SELECT credit_account_id AS account_id, amount FROM transfers
            UNION ALL SELECT debit_account_id, -amount FROM transfers) AS moves GROUP BY account_id) AS moved
    WHERE accounts.id = moved.account_id
    """
# Two sessions of each used token, and thousands of token 3; of every tenth running token the second one is open.
_SESSIONS = """
    INSERT INTO proxy_sessions (id, user_id, token_id, device_id, ip_address, user_agent, started_at, last_activity,
        ended_at, request_count, bytes_in, bytes_out)
    SELECT gen_random_uuid(), user_id, id, left(md5('device ' || n), 20), '203.0.113.' || n % 250, 'ZenzefiClient/0.7',
        at, at + interval '10 minutes', CASE WHEN n % 100 <> 13 OR part = 0 THEN at + interval '10 minutes' END,
        10 + n % 1000, 1000 + n % 7000, 100000 + n * 7919 % 9000000
    FROM plan CROSS JOIN LATERAL (SELECT part,
            activated_at + part * least(hours * interval '30 minutes', interval '20 hours') AS at
        FROM generate_series(0, CASE WHEN n = 3 THEN least(:tokens / 10, 9999) ELSE 1 END) AS part) AS parts
    WHERE fate >= 3
    """
_OF_TOKENS = """
    INSERT INTO token_usage_days (token_id, day, user_id, requests, bytes_in, bytes_out, sessions)
    SELECT token_id, CAST(started_at AT TIME ZONE 'UTC' AS date), user_id, sum(request_count), sum(bytes_in),
        sum(bytes_out), count(*) FROM proxy_sessions GROUP BY 1, 2, 3
    """
_OF_ALL = """
    INSERT INTO usage_days (day, requests, bytes_in, bytes_out, sessions)
    SELECT day, sum(requests), sum(bytes_in), sum(bytes_out), sum(sessions) FROM token_usage_days GROUP BY day
    """
_AUDIT = """
    INSERT INTO audit_entries (created_at, action, actor_id, user_id, resource_type, resource_id, ip_address,
        user_agent, details)
    SELECT CAST(:moment AS timestamptz) - interval '30 days' * (1 - n / (:users * 5.0)),
        (ARRAY['user.logged_in', 'user.login_failed', 'user.logged_out', 'token.purchased'])[1 + n % 4],
        person, person, 'user', person, '203.0.113.' || n % 250, 'A browser', '{}'
    FROM (SELECT n, pg_temp.its_id('user', CASE WHEN n % 50 = 0 THEN 1 ELSE 1 + n * 7919 % :users END) AS person
        FROM generate_series(1, CAST(:users AS bigint) * 5) AS n) AS numbered
    """
_LOGINS = """
    INSERT INTO logins (id, user_id, kind, password_version, created_at, last_seen_at, expires_at, ip_address,
        user_agent)
    SELECT gen_random_uuid(), pg_temp.its_id('user', n), 'page', 1, at, at, at + interval '60 days',
        '203.0.113.' || n % 250, 'A browser'
    FROM (SELECT n, CAST(:moment AS timestamptz) - interval '30 days' * pg_temp.chance(n) AS at
        FROM generate_series(1, :users) AS n) AS numbered
    """

# Recomputed by the job of the daily statistics.
_FIGURES = "DELETE FROM day_figures"

ROWS = {
    "users": (_USERS,),
    "wallets": (_WALLETS,),
    "tokens": (_TOKENS,),
    "payments": (_PAYMENTS, _UNPAID),
    "transfers": (_TRANSFERS,),
    "balances": (_BALANCES, _PAYMENT_DAYS),
    "sessions": (_SESSIONS,),
    "usage by day": (_OF_TOKENS, _OF_ALL),
    "audit log and logins": (_AUDIT, _LOGINS),
    "figures by day": (_FIGURES,),
}
