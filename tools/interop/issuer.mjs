// An OpenID Connect issuer (package oauth2-mock-server) with its metadata and keys at http://localhost:<port>.
// Each line of the input is the claims of a token as JSON; the answer is a line with the token.
import { createInterface } from "node:readline";
import { OAuth2Server } from "oauth2-mock-server";

const server = new OAuth2Server();
for (const algorithm of ["RS256", "ES256"]) await server.issuer.keys.generate(algorithm);
await server.start(0, "localhost");
console.log(server.issuer.url);
const kids = Object.fromEntries(server.issuer.keys.toJSON().map((key) => [key.alg, key.kid]));
for await (const line of createInterface({ input: process.stdin })) {
  const { alg, ...claims } = JSON.parse(line);
  const scopesOrTransform = (_header, payload) => Object.assign(payload, claims);
  console.log(await server.issuer.buildToken({ kid: kids[alg], scopesOrTransform }));
}
await server.stop();
