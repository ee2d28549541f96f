/*-------------------------------------------------------------------------
 *
 * actor_key.h
 *	  The keys that actor tokens are signed with; private to the people room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_ACTOR_KEY_H
#define CPII_ACTOR_KEY_H

#define ACTOR_KEY_ID_LEN 64
#define ACTOR_KEYS 16

typedef enum ActorAlgorithm
{
	ACTOR_HS256,				/* HMAC-SHA-256: a shared secret */
	ACTOR_EDDSA					/* Ed25519: the server needs the public key only */
} ActorAlgorithm;

typedef struct ActorKey
{
	char		id[ACTOR_KEY_ID_LEN];	/* "" in a file of one key */
	ActorAlgorithm algorithm;
	bool		can_sign;
	/* HS256: the secret; EdDSA: the private key, when can_sign */
	unsigned char secret[64];
	size_t		secret_len;
	unsigned char public_key[32];	/* EdDSA */
} ActorKey;

/* "HS256" or "EdDSA", as tokens name it */
extern const char *cpii_actor_algorithm(const ActorKey *key);

/*
 * The keys of the file that courier_pii.actor_key_file names, or, without that
 * setting, one key of this installation that only make_actor_token() knows.
 * Read again when the file changed.  Raises when the file cannot be used.
 */
extern const ActorKey *cpii_actor_keys(int *nkeys);

#endif							/* CPII_ACTOR_KEY_H */
