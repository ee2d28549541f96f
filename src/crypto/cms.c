/*-------------------------------------------------------------------------
 *
 * cms.c
 *	  Encrypting data for the holder of a certificate (CMS, RFC 5652).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "crypto/cms.h"

static X509 *
read_certificate(const char *pem)
{
	BIO		   *bio = BIO_new_mem_buf(pem, -1);
	X509	   *result = NULL;

	if (bio != NULL)
	{
		result = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		BIO_free(bio);
	}
	return result;
}

static CMS_ContentInfo *
encrypt(X509 *certificate, BIO *data)
{
	STACK_OF(X509) *recipients = sk_X509_new_null();
	CMS_ContentInfo *cms = NULL;

	if (recipients != NULL && sk_X509_push(recipients, certificate) > 0)
	{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
		cms = CMS_encrypt(recipients, data, EVP_aes_256_gcm(), CMS_BINARY);
#else
		cms = CMS_encrypt(recipients, data, EVP_aes_256_cbc(), CMS_BINARY);
#endif
	}
	sk_X509_free(recipients);
	return cms;
}

bool
cpii_cms_encrypt(const char *certificate, const void *in, size_t len,
				 unsigned char **out, size_t *outlen, const char **why)
{
	X509	   *x509 = read_certificate(certificate);
	BIO		   *data = NULL;
	CMS_ContentInfo *cms = NULL;
	int			n;

	*out = NULL;
	*why = "the text is no certificate in PEM form";
	if (x509 != NULL && len <= INT_MAX)
	{
		*why = "the certificate's key cannot be encrypted for";
		data = BIO_new_mem_buf(in, (int) len);
		if (data != NULL)
			cms = encrypt(x509, data);
		if (cms != NULL && (n = i2d_CMS_ContentInfo(cms, out)) > 0)
		{
			*outlen = (size_t) n;
			*why = NULL;
		}
	}
	ERR_clear_error();
	CMS_ContentInfo_free(cms);
	BIO_free(data);
	X509_free(x509);
	return *why == NULL;
}

void
cpii_cms_free(unsigned char *out)
{
	OPENSSL_free(out);
}
