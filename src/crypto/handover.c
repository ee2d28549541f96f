/*-------------------------------------------------------------------------
 *
 * handover.c
 *	  Secrets between two processes over memory that others can read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "base/secret.h"
#include "crypto/handover.h"

struct CpiiPair
{
	EVP_PKEY   *key;
};

CpiiPair *
cpii_pair_new(unsigned char public_key[CPII_PUBLIC_LEN])
{
	CpiiPair   *pair = calloc(1, sizeof(CpiiPair));
	size_t		len = CPII_PUBLIC_LEN;

	if (pair == NULL)
		return NULL;
	pair->key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	if (pair->key == NULL ||
		EVP_PKEY_get_raw_public_key(pair->key, public_key, &len) != 1 ||
		len != CPII_PUBLIC_LEN)
	{
		cpii_pair_free(pair);
		return NULL;
	}
	return pair;
}

void
cpii_pair_free(CpiiPair *pair)
{
	if (pair == NULL)
		return;
	EVP_PKEY_free(pair->key);
	free(pair);
}

bool
cpii_handover_keys(CpiiPair *mine, const unsigned char theirs[CPII_PUBLIC_LEN],
				   const unsigned char sender[CPII_PUBLIC_LEN],
				   CpiiHandover *keys)
{
	static const unsigned char request[] = "courier_pii request";
	static const unsigned char answer[] = "courier_pii answer";
	unsigned char shared[32];
	size_t		len = sizeof(shared);
	EVP_PKEY   *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, theirs,
													  CPII_PUBLIC_LEN);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, mine->key, NULL);
	bool		ok;

	ok = peer != NULL && ctx != NULL &&
		EVP_PKEY_derive_init(ctx) == 1 &&
		EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
		EVP_PKEY_derive(ctx, shared, &len) == 1 && len == sizeof(shared) &&
		cpii_hkdf(shared, sizeof(shared), sender, CPII_PUBLIC_LEN,
				  request, sizeof(request) - 1, keys->request) &&
		cpii_hkdf(shared, sizeof(shared), sender, CPII_PUBLIC_LEN,
				  answer, sizeof(answer) - 1, keys->answer);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	cpii_wipe(shared, sizeof(shared));
	return ok;
}

bool
cpii_handover_seal(const unsigned char key[CPII_KEY_LEN],
				   const unsigned char *in, size_t inlen, unsigned char *out)
{
	static const unsigned char nonce[CPII_NONCE_LEN] = {0};
	CpiiCipher *cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);
	bool		ok = cipher != NULL &&
		cpii_cipher_seal(cipher, nonce, key, 0, NULL, 0, in, inlen, out, out + inlen);

	cpii_cipher_free(cipher);
	return ok;
}

bool
cpii_handover_open(const unsigned char key[CPII_KEY_LEN],
				   const unsigned char *in, size_t inlen, unsigned char *out)
{
	static const unsigned char nonce[CPII_NONCE_LEN] = {0};
	CpiiCipher *cipher;
	bool		ok;

	if (inlen < CPII_AEAD_TAG_LEN)
		return false;
	inlen -= CPII_AEAD_TAG_LEN;
	cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);
	ok = cipher != NULL &&
		cpii_cipher_open(cipher, nonce, key, 0, NULL, 0, in, inlen, in + inlen, out);
	cpii_cipher_free(cipher);
	return ok;
}
