"""Header rules: hop-by-hop headers, reserved headers, and those by which gateways assert identity, address or path.

An upstream that runs behind a gateway trusts such headers. From a client they would assert another identity, address,
path or method than the one that was admitted.
"""

from functools import lru_cache

# Headers that are ambiguous when repeated.
SINGLE_IN_REQUESTS = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"authorization",
        b"max-forwards",
        b"expect",
        b"upgrade",
        b"x-access-token",
        b"x-device-id",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"origin",
        b"referer",
        b"user-agent",
    }
)
FORBIDDEN_IN_TRAILERS = SINGLE_IN_REQUESTS | frozenset(
    {
        b"connection",
        b"content-encoding",
        b"content-range",
        b"cookie",
        b"set-cookie",
        b"forwarded",
        b"keep-alive",
        b"location",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
        b"x-token-id",
        b"x-user-id",
        b"clear-site-data",
    }
)

# RFC 9110, section 7.6.1, and those that earlier RFCs made hop-by-hop; HTTP2-Settings: RFC 7540, section 3.2.1.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
# A Connection header cannot remove these.
NOT_NOMINABLE = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"cache-control",
        b"via",
        b"max-forwards",
    }
)
_OURS = frozenset(
    {b"host", b"expect", b"proxy", b"x-access-token", b"x-device-id", b"x-request-id", b"x-token-id", b"x-user-id"}
)
# The client's address, scheme and host, as load balancers, CDNs and cloud providers send them.
_ADDRESS_NAMES = frozenset(
    {
        b"ali-cdn-real-ip",
        b"cdn-real-ip",
        b"cdn-src-ip",
        b"cf-connecting-ip",
        b"cf-connecting-ipv6",
        b"cf-visitor",
        b"client-ip",
        b"cloudfront-forwarded-proto",
        b"cloudfront-viewer-address",
        b"do-connecting-ip",
        b"fastly-client-ip",
        b"fastly-ssl",
        b"fly-client-ip",
        b"forwarded",
        b"forwarded-for",
        b"front-end-https",
        b"incap-client-ip",
        b"proxy-client-ip",
        b"true-client-ip",
        b"wl-proxy-client-ip",
        b"wl-proxy-ssl",
        b"x-arr-ssl",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-forward-for",
        b"x-forwarded",
        b"x-host",
        b"x-http-host-override",
        b"x-https",
        b"x-nf-client-connection-ip",
        b"x-original-forwarded-for",
        b"x-original-host",
        b"x-original-proto",
        b"x-originating-ip",
        b"x-proxyuser-ip",
        b"x-real-ip",
        b"x-real-port",
        b"x-scheme",
        b"x-sucuri-clientip",
        b"x-true-client-ip",
        b"x-url-scheme",
    }
)
# A path or method that overrides the request line's.
_TARGET_NAMES = frozenset(
    {
        b"request-uri",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-args",
        b"x-original-method",
        b"x-original-path",
        b"x-original-uri",
        b"x-original-url",
        b"x-override-url",
        b"x-proxy-url",
        b"x-request-uri",
        b"x-request-url",
        b"x-rewrite-path",
        b"x-rewrite-uri",
        b"x-rewrite-url",
        b"x-unencoded-url",
        b"x-waws-unencoded-url",
    }
)
# The authenticated user. RFC 9440, section 2.4: a proxy must sanitise Client-Cert.
_IDENTITY_NAMES = frozenset(
    {
        b"auth-user",
        b"cf-access-jwt-assertion",
        b"client-cert",
        b"client-cert-chain",
        b"x-authenticated-user",
        b"x-authenticated-userid",
        b"x-client-verify",
        b"x-credential-identifier",
        b"x-arr-clientcert",
        b"x-ssl-cert",
    }
)
_NEVER_UP = HOP_BY_HOP | _OURS | _ADDRESS_NAMES | _TARGET_NAMES | _IDENTITY_NAMES
_NEVER_UP_PREFIXES = (
    b"cf-access-authenticated-",
    b"remote-",
    b"ssl-client-",
    b"tailscale-user-",
    b"x-accel-",
    b"x-amzn-oidc-",
    b"x-appengine-",
    b"x-auth-request-",
    b"x-authentik-",
    b"x-client-cert",
    b"x-consumer-",
    b"x-envoy-",
    b"x-forwarded-",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-invoke-",
    b"x-middleware-",
    b"x-ms-client-principal",
    b"x-pomerium-",
    b"x-remote-",
    b"x-sendfile-",
    b"x-ssl-client-",
    b"x-vouch-",
    b"x-webauth-",
)

# Alt-Svc names other addresses of the upstream, which would bypass the proxy. The others instruct a web server in
# front (nginx, Apache, lighttpd) to serve a file or an internal address.
NEVER_FORWARDED_TO_CLIENT = HOP_BY_HOP | frozenset(
    {
        b"alt-svc",
        b"clear-site-data",
        b"x-accel-charset",
        b"x-accel-expires",
        b"x-accel-limit-rate",
        b"x-accel-redirect",
        b"x-lighttpd-send-file",
        b"x-reproxy-url",
        b"x-request-id",
        b"x-sendfile",
    }
)
RATE_LIMIT = frozenset({b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset"})

# How header names become variable names in CGI and its descendants.
_AS_VARIABLE = bytes(sign if chr(sign).isascii() and chr(sign).isalnum() else ord("-") for sign in range(256))

# Decisions are cached by name; only for short names, so that invented ones take little memory.
_CACHED_NAMES = 1024
_LONGEST_CACHED = 64


def is_forwarded_upstream(lower: bytes) -> bool:
    """Return whether a client's header of this lower-case name may be forwarded to the upstream."""
    return _decide_cached(lower) if len(lower) <= _LONGEST_CACHED else _decide(lower)


def _decide(lower: bytes) -> bool:
    plain = lower.translate(_AS_VARIABLE)
    if plain != lower:
        # Many servers read X_User_Id as X-User-Id, and some X.User.Id: other characters must not bypass the rules.
        lower = plain
        if lower in NOT_NOMINABLE:
            return False
    return lower not in _NEVER_UP and not lower.startswith(_NEVER_UP_PREFIXES)


_decide_cached = lru_cache(_CACHED_NAMES)(_decide)
