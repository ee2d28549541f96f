/*-------------------------------------------------------------------------
 *
 * crypto_test.c
 *	  Known answers of ciphers, keyed hashes, key derivation and shares.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "tap.h"
#include "crypto/cipher.h"
#include "crypto/gcm.h"
#include "crypto/shamir.h"
#include "crypto/wrap.h"
#include "sealed/envelope.h"

int			tap_count = 0;
int			tap_failures = 0;

static size_t
unhex(const char *hex, unsigned char *out)
{
	size_t		n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++)
	{
		char		pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

		out[i] = (unsigned char) strtoul(pair, NULL, 16);
	}
	return n;
}

static bool
same(const unsigned char *got, const char *hex)
{
	unsigned char want[128];

	return memcmp(got, want, unhex(hex, want)) == 0;
}

#define CMAC_KEY "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
#define CMAC_END "00000000000000000000000000000000"

/* RFC 4231 (HMAC-SHA-256), and HMAC-SM3 of the same key and text */
static void
keyed_hashes(void)
{
	static const struct
	{
		CpiiDigest	digest;
		const char *key;
		const char *text;
		const char *out;
	}			cases[] =
	{
		{CPII_DIGEST_SHA256, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{CPII_DIGEST_SM3, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		"2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882"},
		{CPII_DIGEST_SM3, "0102030405060708090a0b0c0d0e0f10", "616263", "a673f5905a6f786cccead2c394198d6716fe523f3c70da9adfdb8abb2da88345"},
		/* NIST SP 800-38B, D.3: none, one, two and a half, four blocks */
		{CPII_DIGEST_AES_CMAC, CMAC_KEY, "", "028962f61b7bf89efc6b551f4667d983" CMAC_END},
		{CPII_DIGEST_AES_CMAC, CMAC_KEY, "6bc1bee22e409f96e93d7e117393172a",
		"28a7023f452e8f82bd4bf28d8c37c35c" CMAC_END},
		{CPII_DIGEST_AES_CMAC, CMAC_KEY, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
		"aaf3d8f1de5640c232f5b169b9c911e6" CMAC_END},
		{CPII_DIGEST_AES_CMAC, CMAC_KEY, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
			"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
		"e1992190549f6ed5696a2c056c315410" CMAC_END},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		unsigned char key[64];
		unsigned char text[64];
		unsigned char out[CPII_MAC_LEN];
		size_t		keylen = unhex(cases[i].key, key);
		size_t		len = unhex(cases[i].text, text);
		CpiiMac    *mac = cpii_mac_new_digest(cases[i].digest, key, keylen);

		tap_ok(mac != NULL && cpii_mac(mac, text, len, out) && same(out, cases[i].out),
			   "keyed hash %d", (int) i);
		tap_ok(mac != NULL && cpii_mac(mac, text, len, out) && same(out, cases[i].out),
			   "keyed hash %d again", (int) i);
		cpii_mac_free(mac);
	}
}

/* the short way of CMAC and that of OpenSSL agree on every length */
static void
short_cmac(void)
{
	unsigned char key[32];
	unsigned char text[40];
	unsigned char one[CPII_MAC_LEN];
	unsigned char two[CPII_MAC_LEN];
	bool		all = true;
	CpiiMac    *mac;

	for (int i = 0; i < 32; i++)
		key[i] = (unsigned char) (i * 11 + 3);
	for (int i = 0; i < 40; i++)
		text[i] = (unsigned char) (i * 29 + 1);
	mac = cpii_mac_new_digest(CPII_DIGEST_AES_CMAC, key, sizeof(key));
	for (size_t len = 0; len <= sizeof(text); len++)
	{
		CpiiMacPiece pieces[] = {{text, len / 2}, {text + len / 2, len - len / 2}};

		if (mac == NULL || !cpii_mac(mac, text, len, one) ||
			!cpii_mac_pieces(mac, pieces, 2, two) || memcmp(one, two, sizeof(one)) != 0)
			all = false;
	}
	tap_ok(all, "CMAC of short texts is CMAC");
	cpii_mac_free(mac);
	tap_ok(cpii_mac_new_digest(CPII_DIGEST_AES_CMAC, key, 16) == NULL,
		   "CMAC takes keys of 32 bytes");
}

/* the beginnings of hashes, kept ones of four digits and others */
static void
heads(void)
{
	static const char *const others[] = {"", "1", "123", "12345", "12a4", "/000", "000/",
	":999", "99:9", "\261\262\263\264", "0000000000000000", "00000000000000001"};
	unsigned char key[32] = {9, 8, 7};
	unsigned char head[CPII_MAC_HEAD_LEN];
	unsigned char full[CPII_MAC_LEN];
	bool		all = true;

	for (int digest = CPII_DIGEST_SHA256; digest <= CPII_DIGEST_AES_CMAC; digest++)
	{
		CpiiMac    *mac = cpii_mac_new_digest((CpiiDigest) digest, key, sizeof(key));

		for (int i = 0; mac != NULL && i < 20000; i++)
		{
			char		text[16];

			/* every one of them, far from the last one, and some of them again */
			snprintf(text, sizeof(text), "%04d", (int) ((long) i * 7919 % 10000));
			if (!cpii_mac(mac, (unsigned char *) text, 4, full) ||
				!cpii_mac_head(mac, (unsigned char *) text, 4, head) ||
				memcmp(head, full, sizeof(head)) != 0)
				all = false;
		}
		for (size_t i = 0; mac != NULL && i < sizeof(others) / sizeof(others[0]); i++)
			if (!cpii_mac(mac, (const unsigned char *) others[i], strlen(others[i]), full) ||
				!cpii_mac_head(mac, (const unsigned char *) others[i], strlen(others[i]), head) ||
				memcmp(head, full, sizeof(head)) != 0)
				all = false;
		all = all && mac != NULL;
		cpii_mac_free(mac);
	}
	tap_ok(all, "beginnings of hashes");
}

/* associated data in one piece are header, tags and identity one after the other */
static void
associated(void)
{
	static const int flags[] = {0, CPII_FLAG_TAG, CPII_FLAG_TAG | CPII_FLAG_TAIL, CPII_FLAG_TOKEN};
	unsigned char tag[CPII_MAC_LEN];
	unsigned char tail[CPII_TAIL_TAG_LEN];
	unsigned char identity[16];

	for (int i = 0; i < CPII_MAC_LEN; i++)
		tag[i] = (unsigned char) (200 + i);
	for (int i = 0; i < 16; i++)
		identity[i] = (unsigned char) (100 + i);
	memcpy(tail, "\001\377\200\177", sizeof(tail));
	for (int i = 0; i < 4; i++)
	{
		unsigned char got[CPII_ENVELOPE_AAD_ROOM];
		unsigned char want[CPII_ENVELOPE_AAD_ROOM];
		size_t		len = CPII_ENVELOPE_HEADER_LEN;

		cpii_envelope_header(want, 3, flags[i], 65533, 40002);
		if (flags[i] & CPII_FLAG_TAG)
		{
			memcpy(want + len, tag, CPII_SEARCH_TAG_LEN);
			len += CPII_SEARCH_TAG_LEN;
		}
		if (flags[i] & CPII_FLAG_TAIL)
		{
			memcpy(want + len, tail, CPII_TAIL_TAG_LEN);
			len += CPII_TAIL_TAG_LEN;
		}
		memcpy(want + len, identity, sizeof(identity));
		tap_ok(cpii_envelope_associated(got, 3, flags[i], 65533, 40002, tag, tail,
										identity) == len &&
			   len == cpii_envelope_aad_size(flags[i]) &&
			   memcmp(got, want, len + sizeof(identity)) == 0, "associated data %d", i);
	}
}

/* a child has nonces of its own, whatever its parent's pool held */
static void
nonces(void)
{
	unsigned char mine[CPII_NONCE_LEN];
	unsigned char theirs[CPII_NONCE_LEN] = {0};
	unsigned char last[CPII_NONCE_LEN];
	unsigned char many[300][CPII_NONCE_LEN];
	bool		all = true;
	int			ends[2];
	pid_t		child;

	tap_ok(cpii_nonce(last), "a nonce");
	for (int i = 0; i < 1000; i++)
	{
		if (!cpii_nonce(mine) || memcmp(mine, last, sizeof(mine)) == 0)
			all = false;
		memcpy(last, mine, sizeof(mine));
	}
	tap_ok(all, "nonces differ");
	all = cpii_nonces(many[0], 300) && !cpii_nonces(many[0], 400);
	for (int i = 0; i < 300; i++)
		for (int k = 0; k < i; k++)
			if (memcmp(many[i], many[k], CPII_NONCE_LEN) == 0)
				all = false;
	tap_ok(all, "nonces drawn together differ");
	if (pipe(ends) != 0 || (child = fork()) < 0)
		abort();
	if (child == 0)
	{
		if (!cpii_nonce(theirs) || write(ends[1], theirs, sizeof(theirs)) != sizeof(theirs))
			_exit(1);
		_exit(0);
	}
	tap_ok(cpii_nonce(mine) && read(ends[0], theirs, sizeof(theirs)) == sizeof(theirs) &&
		   waitpid(child, NULL, 0) == child &&
		   memcmp(mine, theirs, sizeof(mine)) != 0, "a child draws other nonces");
}

/* EVP's GCM, to compare with */
static bool
evp_gcm(const unsigned char *key, const unsigned char *nonce, const unsigned char *aad,
		size_t aadlen, const unsigned char *in, size_t inlen,
		unsigned char *out, unsigned char *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			len;
	bool		ok;

	ok = EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
		EVP_EncryptUpdate(ctx, NULL, &len, aad, (int) aadlen) == 1 &&
		EVP_EncryptUpdate(ctx, out, &len, in, (int) inlen) == 1 &&
		EVP_EncryptFinal_ex(ctx, out + inlen, &len) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* short texts by gcm.c: the bytes of EVP, whatever was made ahead */
static void
short_gcm(void)
{
	unsigned char key[32];
	unsigned char aad[64];
	unsigned char in[CPII_GCM_TEXT_MAX];
	unsigned char nonce[12];
	unsigned char other[12] = {9};
	unsigned char out[CPII_GCM_TEXT_MAX];
	unsigned char whole[12 + CPII_GCM_TEXT_MAX + 16];
	unsigned char want[CPII_GCM_TEXT_MAX + 16];
	unsigned char back[CPII_GCM_TEXT_MAX];
	unsigned char tag[16];
	unsigned char want_tag[16];
	unsigned char seen[200][12];
	bool		same_bytes = true;
	bool		opens = true;
	bool		given = true;
	bool		differ = true;
	EVP_CIPHER *ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	CpiiGcm    *gcm;
	int			ends[2];
	pid_t		child;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char) (i * 13 + 1);
	for (size_t i = 0; i < 64; i++)
		aad[i] = (unsigned char) (i * 7 + 3);
	for (size_t i = 0; i < 32; i++)
		key[i] = (unsigned char) (i * 5 + 2);
	gcm = cpii_gcm_new(ecb, key);
	for (size_t round = 0; gcm != NULL && round < 4; round++)
		for (size_t len = 0; len <= CPII_GCM_TEXT_MAX; len++)
		{
			/* rising, falling and mixed lengths, so that widths are met and missed */
			size_t		n = round == 0 ? len : round == 1 ? CPII_GCM_TEXT_MAX - len : len * 37 % (CPII_GCM_TEXT_MAX + 1);
			size_t		aadlen = round == 3 ? len % 65 : 50;

			if (!cpii_gcm_seal_fresh(gcm, aad, aadlen, in, n, whole))
				same_bytes = false;
			memcpy(nonce, whole, 12);
			memcpy(out, whole + 12, n);
			memcpy(tag, whole + 12 + n, 16);
			if (!evp_gcm(key, nonce, aad, aadlen, in, n, want, want_tag) ||
				memcmp(out, want, n) != 0 || memcmp(tag, want_tag, 16) != 0)
				same_bytes = false;
			/* opening in between must not touch what was made ahead */
			if (!cpii_gcm_open(gcm, nonce, aad, aadlen, out, n, tag, back) ||
				memcmp(back, in, n) != 0)
				opens = false;
			/* the same nonce once more: its blocks are gone, the bytes the same */
			if (!cpii_gcm_seal(gcm, nonce, aad, aadlen, in, n, out, tag) ||
				memcmp(out, want, n) != 0 || memcmp(tag, want_tag, 16) != 0)
				given = false;
			/* one of the caller's own */
			if (!cpii_gcm_seal(gcm, other, aad, aadlen, in, n, out, tag) ||
				!evp_gcm(key, other, aad, aadlen, in, n, want, want_tag) ||
				memcmp(out, want, n) != 0 || memcmp(tag, want_tag, 16) != 0)
				given = false;
			tag[n % 16] ^= 1;
			if (cpii_gcm_open(gcm, other, aad, aadlen, out, n, tag, back))
				opens = false;
		}
	tap_ok(gcm != NULL && same_bytes, "GCM of short texts is GCM");
	tap_ok(opens, "and opens, or refuses");
	tap_ok(given, "with nonces of others, and with one that was used");
	tap_ok(!cpii_gcm_seal(gcm, other, aad, 1, in, CPII_GCM_TEXT_MAX + 1, out, tag) &&
		   !cpii_gcm_seal_fresh(gcm, aad, 1, in, CPII_GCM_TEXT_MAX + 1, whole) &&
		   !cpii_gcm_open(gcm, other, aad, 1, in, CPII_GCM_TEXT_MAX + 1, tag, out),
		   "longer texts are refused");
	for (int i = 0; i < 200; i++)
	{
		if (!cpii_gcm_seal_fresh(gcm, aad, 1, in, 1, whole))
			differ = false;
		memcpy(seen[i], whole, 12);
		for (int k = 0; k < i; k++)
			if (memcmp(seen[i], seen[k], 12) == 0)
				differ = false;
	}
	tap_ok(differ, "no nonce twice");
	if (pipe(ends) != 0 || (child = fork()) < 0)
		abort();
	if (child == 0)
	{
		if (!cpii_gcm_seal_fresh(gcm, aad, 1, in, 1, whole) || write(ends[1], whole, 12) != 12)
			_exit(1);
		_exit(0);
	}
	tap_ok(cpii_gcm_seal_fresh(gcm, aad, 1, in, 1, whole) && read(ends[0], other, 12) == 12 &&
		   waitpid(child, NULL, 0) == child && memcmp(whole, other, 12) != 0,
		   "a child does not use what was made ahead for its parent");
	cpii_gcm_free(gcm);
	EVP_CIPHER_free(ecb);
}

/* the cipher gives EVP's bytes on both sides of the length where the way changes */
static void
all_lengths(void)
{
	unsigned char key[32] = {3};
	unsigned char aad[80] = {4};
	unsigned char nonce[12];
	unsigned char in[300];
	unsigned char out[300];
	unsigned char whole[12 + 300 + 16];
	unsigned char want[316];
	unsigned char tag[16];
	unsigned char want_tag[16];
	CpiiCipher *cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);
	bool		all = cipher != NULL;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char) (i * 31);
	for (size_t len = 0; all && len <= sizeof(in); len++)
	{
		/* associated data in two parts, short and long ones */
		size_t		part = len % 65;

		all = cpii_cipher_seal_fresh(cipher, aad, part, in, len, whole) &&
			evp_gcm(key, whole, aad, part, in, len, want, want_tag) &&
			memcmp(whole + 12, want, len) == 0 &&
			memcmp(whole + 12 + len, want_tag, 16) == 0 &&
			cpii_nonce(nonce) &&
			cpii_cipher_seal(cipher, nonce, aad, part, aad + part, 16, in, len, out, tag) &&
			evp_gcm(key, nonce, aad, part + 16, in, len, want, want_tag) &&
			memcmp(out, want, len) == 0 && memcmp(tag, want_tag, 16) == 0 &&
			cpii_cipher_open(cipher, nonce, aad, part, aad + part, 16, out, len, tag, want) &&
			memcmp(want, in, len) == 0;
		tag[0] ^= 1;
		if (cpii_cipher_open(cipher, nonce, aad, part, aad + part, 16, out, len, tag, want))
			all = false;
		for (size_t i = 0; i < len; i++)
			if (want[i] != 0)
				all = false;
	}
	tap_ok(all, "texts of all lengths");
	cpii_cipher_free(cipher);
}

/* RFC 8998, A.1: that this OpenSSL's SM4-GCM is the standard's */
static void
sm4_gcm(void)
{
	EVP_CIPHER *algorithm = EVP_CIPHER_fetch(NULL, "SM4-GCM", NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	unsigned char key[16];
	unsigned char nonce[12];
	unsigned char aad[20];
	unsigned char in[64];
	unsigned char out[80];
	unsigned char tag[16];
	int			len = 0;

	ERR_clear_error();
	if (algorithm == NULL)
	{
		tap_ok(!cpii_suite_available(CPII_SUITE_SM4_GCM),
			   "SM4-GCM # skip not offered by this OpenSSL");
		EVP_CIPHER_CTX_free(ctx);
		return;
	}
	unhex("0123456789abcdeffedcba9876543210", key);
	unhex("00001234567800000000abcd", nonce);
	unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
	unhex("aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
		  "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa", in);
	tap_ok(EVP_EncryptInit_ex2(ctx, algorithm, key, nonce, NULL) == 1 &&
		   EVP_EncryptUpdate(ctx, NULL, &len, aad, sizeof(aad)) == 1 &&
		   EVP_EncryptUpdate(ctx, out, &len, in, sizeof(in)) == 1 &&
		   EVP_EncryptFinal_ex(ctx, out + len, &len) == 1 &&
		   EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag) == 1 &&
		   same(out, "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
				"d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d") &&
		   same(tag, "83de3541e4c2b58177e065a9bf7b62ec"), "SM4-GCM of RFC 8998");
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(algorithm);
	tap_ok(cpii_suite_available(CPII_SUITE_SM4_GCM), "SM4-GCM is offered");
}

/* RFC 5869, test case 1 (first 32 bytes) */
static void
derivation(void)
{
	unsigned char key[32];
	unsigned char salt[32];
	unsigned char info[32];
	unsigned char out[CPII_KEY_LEN];
	size_t		keylen = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", key);
	size_t		saltlen = unhex("000102030405060708090a0b0c", salt);
	size_t		infolen = unhex("f0f1f2f3f4f5f6f7f8f9", info);

	tap_ok(cpii_hkdf(key, keylen, salt, saltlen, info, infolen, out) &&
		   same(out, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"),
		   "HKDF-SHA-256");
}

/* AES-256-GCM: test case 14 of the GCM specification, and 16 with data */
static void
aes(void)
{
	unsigned char key[32] = {0};
	unsigned char nonce[12] = {0};
	unsigned char in[64] = {0};
	unsigned char aad[32];
	unsigned char out[64];
	unsigned char tag[16];
	size_t		aadlen;
	size_t		len;
	CpiiCipher *cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);

	tap_ok(cipher && cpii_cipher_seal(cipher, nonce, in, 0, NULL, 0, in, 16, out, tag) &&
		   same(out, "cea7403d4d606b6e074ec5d3baf39d18") &&
		   same(tag, "d0d1c8a799996bf0265b98b5d48ab919"), "AES-256-GCM case 14");
	cpii_cipher_free(cipher);

	unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", key);
	unhex("cafebabefacedbaddecaf888", nonce);
	len = unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
				"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39", in);
	aadlen = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
	cipher = cpii_cipher_new(CPII_SUITE_AES_256_GCM, key);
	tap_ok(cipher && cpii_cipher_seal(cipher, nonce, aad, 7, aad + 7, aadlen - 7, in, len, out, tag) &&
		   same(out, "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
				"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662") &&
		   same(tag, "76fc6ece0f4e1768cddf8853bb2d551b"), "AES-256-GCM case 16");
	cpii_cipher_free(cipher);
}

/*
 * Every suite: the known answer of our construction, the way back, and every
 * bit that is changed and every byte that is missing noticed.
 */
static void
suites(void)
{
	static const struct
	{
		CpiiSuite	suite;
		const char *text;
		const char *tag;
	}			cases[] =
	{
		{CPII_SUITE_AES_256_GCM, "d38a9612140fb336fbf32f", "cec060a70ad950b721d23d3876de14a3"},
		{CPII_SUITE_SM4_CTR_HMAC_SM3, "195aee68d7932eb17ba54f", "fe8cd39b1c7edc549281d7032c00661f"},
		{CPII_SUITE_SM4_GCM, "a4da19f7cc8cba2145edf0", "fc4f08bcda529307adbd3f5d0213d606"},
	};
	unsigned char key[32];
	unsigned char nonce[12];
	unsigned char aad[18];
	unsigned char aad2[16];
	unsigned char in[11];
	unsigned char out[11];
	unsigned char back[11];
	unsigned char tag[16];

	for (int i = 0; i < 32; i++)
		key[i] = (unsigned char) i;
	for (int i = 0; i < 12; i++)
		nonce[i] = (unsigned char) (0x40 + i);
	for (int i = 0; i < 18; i++)
		aad[i] = (unsigned char) (0x80 + i);
	for (int i = 0; i < 16; i++)
		aad2[i] = (unsigned char) (0xc0 + i);
	memcpy(in, "13812345678", 11);

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
	{
		CpiiCipher *cipher = cpii_cipher_new(cases[c].suite, key);
		const char *name = cpii_suite_name(cases[c].suite);
		bool		all = true;
		struct
		{
			unsigned char *bytes;
			size_t		len;
		}			parts[] = {{nonce, 12}, {aad, 18}, {aad2, 16}, {out, 11}, {tag, 16}};

		if (!cpii_suite_available(cases[c].suite))
		{
			tap_ok(cipher == NULL, "%s # skip not offered by this OpenSSL", name);
			continue;
		}
		tap_ok(cipher != NULL && cpii_cipher_suite(cipher) == cases[c].suite &&
			   cpii_cipher_seal(cipher, nonce, aad, 18, aad2, 16, in, 11, out, tag),
			   "%s seals", name);
		if (cases[c].text != NULL)
			tap_ok(same(out, cases[c].text) && same(tag, cases[c].tag), "%s known answer", name);
		tap_ok(cpii_cipher_open(cipher, nonce, aad, 18, aad2, 16, out, 11, tag, back) &&
			   memcmp(in, back, 11) == 0, "%s opens", name);
		for (size_t p = 0; p < 5; p++)
			for (size_t bit = 0; bit < 8 * parts[p].len; bit++)
			{
				parts[p].bytes[bit / 8] ^= (unsigned char) (1 << bit % 8);
				if (cpii_cipher_open(cipher, nonce, aad, 18, aad2, 16, out, 11, tag, back))
					all = false;
				for (int i = 0; i < 11; i++)
					if (back[i] != 0)
						all = false;
				parts[p].bytes[bit / 8] ^= (unsigned char) (1 << bit % 8);
			}
		tap_ok(all, "%s notices every changed bit and leaves no text", name);
		all = true;
		for (size_t len = 0; len < 11; len++)
			if (cpii_cipher_open(cipher, nonce, aad, 18, aad2, 16, out, len, tag, back))
				all = false;
		/* a byte that moves from one part to the other */
		if (cases[c].suite == CPII_SUITE_SM4_CTR_HMAC_SM3 &&
			cpii_cipher_open(cipher, nonce, aad, 17, aad2, 16, out, 11, tag, back))
			all = false;
		tap_ok(all, "%s notices every missing byte", name);
		tap_ok(cpii_cipher_seal(cipher, nonce, aad, 18, aad2, 16, in, 0, out, tag) &&
			   cpii_cipher_open(cipher, nonce, aad, 18, aad2, 16, out, 0, tag, back),
			   "%s seals the empty text", name);
		cpii_cipher_free(cipher);
	}
	tap_ok(cpii_cipher_new((CpiiSuite) 0, key) == NULL &&
		   cpii_cipher_new((CpiiSuite) 4, key) == NULL, "unknown suites are refused");
	tap_ok(cpii_suite_by_name("sm4-gcm") == CPII_SUITE_SM4_GCM &&
		   cpii_suite_by_name("SM4") == 0, "suites by name");
}

static void
shares(void)
{
	unsigned char secret[CPII_KEY_LEN];
	unsigned char coefficients[4 * CPII_KEY_LEN];
	unsigned char back[CPII_KEY_LEN];
	CpiiShare	all[5];
	CpiiShare	some[5];
	char		text[CPII_SHARE_TEXT_LEN];
	char		copy[CPII_SHARE_TEXT_LEN + 8];
	CpiiShare	parsed;
	bool		good = true;
	bool		short_fails = true;

	for (int i = 0; i < CPII_KEY_LEN; i++)
		secret[i] = (unsigned char) (i * 7 + 1);
	for (int i = 0; i < 4 * CPII_KEY_LEN; i++)
		coefficients[i] = (unsigned char) (i * 31 + 5);
	memset(all, 0, sizeof(all));

	/* every set of 3 of 5, in every order, makes the secret; of 2, none does */
	for (int i = 0; i < 5; i++)
	{
		all[i].threshold = 3;
		all[i].number = i * 50 + 1;
		cpii_shamir_share(secret, coefficients, 3, all[i].number, all[i].data);
	}
	for (int a = 0; a < 5; a++)
		for (int b = 0; b < 5; b++)
			for (int c = 0; c < 5; c++)
			{
				if (a == b || b == c || a == c)
					continue;
				some[0] = all[a];
				some[1] = all[b];
				some[2] = all[c];
				if (!cpii_shamir_combine(some, 3, back) || memcmp(back, secret, CPII_KEY_LEN) != 0)
					good = false;
				if (cpii_shamir_combine(some, 2, back) && memcmp(back, secret, CPII_KEY_LEN) == 0)
					short_fails = false;
			}
	tap_ok(good, "3 of 5 shares make the secret");
	tap_ok(short_fails, "2 of 5 do not");
	some[1] = some[0];
	tap_ok(!cpii_shamir_combine(some, 2, back), "one share twice is refused");
	cpii_shamir_share(secret, coefficients, 2, 1, back);
	tap_ok(back[0] == (unsigned char) (secret[0] ^ coefficients[0]), "share 1 is secret plus coefficient");

	tap_ok(cpii_share_print(&all[4], text) &&
		   cpii_share_parse(text, strlen(text), &parsed) == CPII_SHARE_GOOD &&
		   parsed.threshold == 3 && parsed.number == 201 &&
		   memcmp(parsed.data, all[4].data, CPII_KEY_LEN) == 0, "text form and back");
	snprintf(copy, sizeof(copy), "  %s\r\n", text);
	tap_ok(cpii_share_parse(copy, strlen(copy), &parsed) == CPII_SHARE_GOOD, "blanks around it");
	good = true;
	for (size_t i = 0; i < strlen(text); i++)
	{
		memcpy(copy, text, sizeof(text));
		copy[i] = copy[i] == '7' ? '8' : '7';
		if (cpii_share_parse(copy, strlen(copy), &parsed) == CPII_SHARE_GOOD)
			good = false;
	}
	tap_ok(good, "every mistyped character is noticed");
	good = true;
	for (size_t len = 0; len < strlen(text); len++)
		if (cpii_share_parse(text, len, &parsed) == CPII_SHARE_GOOD)
			good = false;
	tap_ok(good, "every truncated share is noticed");
}

static void
wrapping(void)
{
	unsigned char with[CPII_KEY_LEN];
	unsigned char key[CPII_KEY_LEN];
	unsigned char back[CPII_KEY_LEN];
	unsigned char wrapped[CPII_WRAPPED_LEN];
	unsigned char again[CPII_WRAPPED_LEN];
	const unsigned char salt[] = "installation";
	bool		good = true;

	memset(with, 7, sizeof(with));
	for (int i = 0; i < CPII_KEY_LEN; i++)
		key[i] = (unsigned char) (i * 11 + 3);
	tap_ok(cpii_wrap_key(with, salt, sizeof(salt), 1, key, wrapped) &&
		   cpii_unwrap_key(with, salt, sizeof(salt), 1, wrapped, back) &&
		   memcmp(key, back, CPII_KEY_LEN) == 0, "a wrapped key comes back");
	tap_ok(cpii_wrap_key(with, salt, sizeof(salt), 1, key, again) &&
		   memcmp(wrapped, again, sizeof(wrapped)) != 0, "wrapped twice it looks different");
	tap_ok(!cpii_unwrap_key(with, salt, sizeof(salt), 2, wrapped, back), "it is bound to its number");
	tap_ok(!cpii_unwrap_key(with, salt, sizeof(salt) - 1, 1, wrapped, back), "and to the installation");
	with[0] ^= 1;
	tap_ok(!cpii_unwrap_key(with, salt, sizeof(salt), 1, wrapped, back), "another key does not open it");
	with[0] ^= 1;
	for (int i = 0; i < CPII_WRAPPED_LEN; i++)
	{
		wrapped[i] ^= 1;
		if (cpii_unwrap_key(with, salt, sizeof(salt), 1, wrapped, back))
			good = false;
		wrapped[i] ^= 1;
	}
	tap_ok(good, "every changed byte is noticed");
}

int
main(void)
{
	wrapping();
	keyed_hashes();
	short_cmac();
	heads();
	associated();
	nonces();
	short_gcm();
	all_lengths();
	sm4_gcm();
	derivation();
	aes();
	suites();
	shares();
	printf("1..%d\n", tap_count);
	return tap_failures > 0;
}
