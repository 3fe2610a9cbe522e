// Verifies an access token of the service with package jose, by its published keys: verify.mjs <base URL> <token>
import { createRemoteJWKSet, jwtVerify } from "jose";

const [base, token] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", base));
const rules = { issuer: base, audience: "user-service", algorithms: ["EdDSA"], requiredClaims: ["sub", "sid", "exp", "iat"] };
const { payload } = await jwtVerify(token, keys, rules);
console.log(payload.sub);
