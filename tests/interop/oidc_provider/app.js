// An OpenID provider with one client, whose access tokens are JWTs. Run by test_oidc_provider.py: each line on standard
// input is a list of keys, as "kid:alg" with blanks between, that are the provider's from then on; it is answered with a
// line "ready PORT". A kid is always the same key. What a token is signed with is the client's to choose: it asks for
// the resource "urn:alg:ES256".
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

const PATH = '/realms/shop';
const made = new Map();
let handle;

function pairFor(alg) {
  const curve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[alg];
  if (curve) return generateKeyPairSync('ec', { namedCurve: curve });
  if (alg.startsWith('Ed')) return generateKeyPairSync('ed25519');
  return generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function key(kid, alg) {
  if (!made.has(kid)) {
    const use = alg.startsWith('RSA-') ? 'enc' : 'sig';
    made.set(kid, { ...pairFor(alg).privateKey.export({ format: 'jwk' }), kid, alg, use });
  }
  return made.get(kid);
}

function provider(issuer, keys) {
  const found = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'shop', client_secret: 'not-a-secret-of-anyone', grant_types: ['client_credentials'], redirect_uris: [],
      response_types: [], id_token_signed_response_alg: keys.find((each) => each.use === 'sig').alg,
    }],
    enabledJWA: {
      idTokenEncryptionAlgValues: ['RSA-OAEP-256'],
      idTokenSigningAlgValues: ['RS256', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
    },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      encryption: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: '', audience: 'shop-api', accessTokenFormat: 'jwt', jwt: { sign: { alg: resource.split(':').pop() } },
        }),
      },
    },
  });
  return found.callback();
}

const server = createServer((request, response) => {
  request.originalUrl = request.url;
  if (!request.url.startsWith(`${PATH}/`)) {
    response.writeHead(404).end();
    return;
  }
  request.url = request.url.slice(PATH.length);
  handle(request, response);
});

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const keys = line.trim().split(/\s+/).map((each) => key(...each.split(':')));
    handle = provider(`http://127.0.0.1:${port}${PATH}`, keys);
    process.stdout.write(`ready ${port}\n`);
  });
  lines.on('close', () => process.exit(0));
});
