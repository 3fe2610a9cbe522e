"""Verifies an access token of the service with package PyJWT, by its published keys: verify.py <base URL> <token>"""

import sys

import jwt

base, token = sys.argv[1:]
key = jwt.PyJWKClient(f"{base}/.well-known/jwks.json").get_signing_key_from_jwt(token)
required = ["sub", "sid", "exp", "iat"]
claims = jwt.decode(
    token, key, algorithms=["EdDSA"], issuer=base, audience="user-service", options={"require": required}
)
print(claims["sub"])
