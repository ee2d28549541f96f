/*-------------------------------------------------------------------------
 *
 * actor_token.c
 *	  Making and verifying the token that names a person behind a pool.
 *
 * The signature is checked over the bytes as they came, before any claim is
 * read; header and claims are then read by PostgreSQL's JSON parser.  What was
 * wrong with a refused token is a server matter: the client hears only that
 * it is invalid, the audit trail gets the reason.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/base64url.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/json.h"
#include "base/secret.h"
#include "crypto/cipher.h"
#include "crypto/signature.h"
#include "people/actor_key.h"
#include "people/actor_token.h"

#define MAX_TOKEN_LEN 4096
#define NONCE_BYTES 16

char *
cpii_actor_audience(void)
{
	return psprintf("courier_pii/" UINT64_FORMAT "/%s", GetSystemIdentifier(),
					get_database_name(MyDatabaseId));
}

static int64
unix_time(void)
{
	return (int64) time(NULL);
}

pg_noreturn static void
refuse(const char *reason)
{
	char	   *detail = psprintf("{\"reason\": \"actor token: %s\"}", reason);

	cpii_audit_note(CPII_ACT_DENIED, "set_actor", "denied", detail);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("actor token is invalid"),
			 errdetail_log("Reason: %s.", reason),
			 errhint("Ask the gateway for a new token; each is good for one transaction and at most %d seconds.",
					 ACTOR_TOKEN_SECONDS)));
}

static bool
hmac_sha256(const ActorKey *key, const char *message, size_t len,
			unsigned char out[CPII_MAC_LEN])
{
	CpiiMac    *mac = cpii_mac_new(key->secret, key->secret_len);
	bool		ok = mac != NULL &&
		cpii_mac(mac, (const unsigned char *) message, len, out);

	cpii_mac_free(mac);
	return ok;
}

static bool
signature_fits(const ActorKey *key, const char *message, size_t len,
			   const unsigned char *signature, size_t siglen)
{
	unsigned char expected[CPII_MAC_LEN];

	if (key->algorithm == ACTOR_EDDSA)
		return siglen == CPII_ED25519_SIGNATURE_LEN &&
			cpii_ed25519_verify(key->public_key,
								(const unsigned char *) message, len,
								signature);
	return siglen == CPII_MAC_LEN &&
		hmac_sha256(key, message, len, expected) &&
		cpii_secret_equal(expected, signature, CPII_MAC_LEN);
}

static Jsonb *
decode_object(const char *text, size_t len)
{
	size_t		n;
	unsigned char *bytes = cpii_base64url_decode(text, len, &n);

	return bytes ? cpii_json_object((char *) bytes, n) : NULL;
}

/* the key that the header asks for; its algorithm must be named, too */
static const ActorKey *
choose_key(JsonbContainer *header)
{
	char	   *id = cpii_json_string(header, "kid");
	char	   *algorithm = cpii_json_string(header, "alg");
	int			nkeys;
	const ActorKey *keys = cpii_actor_keys(&nkeys);

	for (int i = 0; i < nkeys; i++)
	{
		bool		chosen = keys[i].id[0] == '\0' ||
			(id == NULL ? nkeys == 1 : strcmp(keys[i].id, id) == 0);

		if (chosen && algorithm != NULL &&
			strcmp(cpii_actor_algorithm(&keys[i]), algorithm) == 0)
			return &keys[i];
	}
	return NULL;
}

static void
check_claims(JsonbContainer *object, const ActorKey *key, ActorClaims *claims)
{
	char	   *staff_no = cpii_json_string(object, "sub");
	char	   *audience = cpii_json_string(object, "aud");
	char	   *nonce = cpii_json_string(object, "jti");
	int64		now = unix_time();
	int64		issued;
	char	   *named;
	unsigned char digest[CPII_SHA256_LEN];

	if (staff_no == NULL || staff_no[0] == '\0' ||
		strlen(staff_no) >= sizeof(claims->staff_no))
		refuse("no usable subject");
	if (audience == NULL || strcmp(audience, cpii_actor_audience()) != 0)
		refuse("made for another audience");
	if (nonce == NULL || strlen(nonce) < 8 || strlen(nonce) > 128)
		refuse("no usable nonce");
	if (!cpii_json_integer(object, "iat", &issued) ||
		!cpii_json_integer(object, "exp", &claims->expires))
		refuse("no usable times");
	if (claims->expires <= now)
		refuse("expired");
	if (issued > now + ACTOR_CLOCK_SECONDS)
		refuse("issued in the future");
	if (claims->expires <= issued ||
		claims->expires - issued > ACTOR_TOKEN_SECONDS)
		refuse("valid for too long");

	/*
	 * Used nonces are forgotten by a restart, so what was issued before it
	 * might have been used.
	 */
	if (issued < (int64) timestamptz_to_time_t(PgStartTime))
		refuse("issued before the server started");

	strlcpy(claims->staff_no, staff_no, sizeof(claims->staff_no));
	named = psprintf("%s|%s", key->id, nonce);
	if (!cpii_sha256((unsigned char *) named, strlen(named), digest))
		refuse("no digest");
	memcpy(claims->nonce, digest, sizeof(claims->nonce));
}

void
cpii_actor_token_verify(const char *token, size_t len, ActorClaims *claims)
{
	const char *first = memchr(token, '.', len);
	const char *second = first ? memchr(first + 1, '.', token + len - first - 1) : NULL;
	const ActorKey *key;
	Jsonb	   *header;
	Jsonb	   *payload;
	unsigned char *signature;
	size_t		siglen;

	if (len > MAX_TOKEN_LEN || second == NULL)
		refuse("malformed");
	header = decode_object(token, first - token);
	if (header == NULL)
		refuse("malformed");
	key = choose_key(&header->root);
	if (key == NULL)
		refuse("unknown key or algorithm");
	signature = cpii_base64url_decode(second + 1, token + len - second - 1,
									  &siglen);
	if (signature == NULL ||
		!signature_fits(key, token, second - token, signature, siglen))
		refuse("wrong signature");
	payload = decode_object(first + 1, second - first - 1);
	if (payload == NULL)
		refuse("malformed");
	check_claims(&payload->root, key, claims);
}

/* ---- making ---- */

static void
append_encoded(StringInfo out, const unsigned char *bytes, size_t len)
{
	char	   *encoded = palloc(CPII_BASE64URL_BOUND(len));

	cpii_base64url_encode(bytes, len, encoded);
	appendStringInfoString(out, encoded);
}

char *
cpii_actor_token_make(const char *staff_no, int seconds)
{
	int			nkeys;
	const ActorKey *keys = cpii_actor_keys(&nkeys);
	const ActorKey *key = NULL;
	unsigned char random[NONCE_BYTES];
	unsigned char signature[CPII_ED25519_SIGNATURE_LEN];
	size_t		siglen;
	char		nonce[CPII_BASE64URL_BOUND(NONCE_BYTES)];
	StringInfoData part;
	StringInfoData token;
	int64		now = unix_time();
	bool		ok;

	for (int i = 0; i < nkeys && key == NULL; i++)
		if (keys[i].can_sign)
			key = &keys[i];
	if (key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server cannot sign actor tokens"),
				 errdetail("The actor key file holds public keys only."),
				 errhint("Sign tokens where the private key is, at the gateway.")));
	if (!cpii_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not generate random bytes")));
	cpii_base64url_encode(random, sizeof(random), nonce);

	initStringInfo(&token);
	initStringInfo(&part);
	appendStringInfo(&part, "{\"alg\":\"%s\",\"typ\":\"JWT\"",
					 cpii_actor_algorithm(key));
	if (key->id[0] != '\0')
	{
		appendStringInfoString(&part, ",\"kid\":");
		escape_json(&part, key->id);
	}
	appendStringInfoChar(&part, '}');
	append_encoded(&token, (unsigned char *) part.data, part.len);
	appendStringInfoChar(&token, '.');

	resetStringInfo(&part);
	appendStringInfoString(&part, "{\"sub\":");
	escape_json(&part, staff_no);
	appendStringInfoString(&part, ",\"aud\":");
	escape_json(&part, cpii_actor_audience());
	appendStringInfo(&part, ",\"iat\":" INT64_FORMAT ",\"exp\":" INT64_FORMAT
					 ",\"jti\":\"%s\"}", now, now + seconds, nonce);
	append_encoded(&token, (unsigned char *) part.data, part.len);

	if (key->algorithm == ACTOR_EDDSA)
	{
		siglen = CPII_ED25519_SIGNATURE_LEN;
		ok = cpii_ed25519_sign(key->secret, (unsigned char *) token.data,
							   token.len, signature);
	}
	else
	{
		siglen = CPII_MAC_LEN;
		ok = hmac_sha256(key, token.data, token.len, signature);
	}
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	appendStringInfoChar(&token, '.');
	append_encoded(&token, signature, siglen);
	return token.data;
}
