// A real OpenID provider (npm oidc-provider) for the tests: one client, three people, and a sign-in that follows login_hint.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirectUri, secret] = process.argv.slice(2);
const people = {
  alice: { email: 'alice@example.com', email_verified: true, groups: ['engineering', 'sre'] },
  bob: { email: 'bob@example.com', email_verified: true, groups: [] },
  eve: { email: 'eve@example.com', email_verified: false, groups: ['platform'] },
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'sallyport', client_secret: secret, redirect_uris: [redirectUri], grant_types: ['authorization_code'] }],
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['groups'] },
    findAccount: (_, sub) => people[sub] && { accountId: sub, claims: () => ({ sub, ...people[sub] }) },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    cookies: { keys: ['a key for tests'] },
    pkce: { required: () => true },
  });
  server.on('request', async (request, response) => {
    if (!request.url.startsWith('/sign-in/')) return provider.callback()(request, response);
    const { params, prompt } = await provider.interactionDetails(request, response);
    if (prompt.name === 'login') {
      return provider.interactionFinished(request, response, { login: { accountId: params.login_hint } });
    }
    const grant = new provider.Grant({ accountId: params.login_hint, clientId: params.client_id });
    grant.addOIDCScope('openid email profile');
    return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
  });
  console.log(issuer);
});
