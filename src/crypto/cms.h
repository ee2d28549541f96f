/*-------------------------------------------------------------------------
 *
 * cms.h
 *	  Encrypting data for the holder of a certificate (CMS, RFC 5652).
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CMS_H
#define CPII_CMS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Encrypt for a recipient, given by a certificate in PEM form; DER comes out:
 * AES-256 with authentication where OpenSSL can (AuthEnvelopedData), else
 * EnvelopedData.  "openssl cms -decrypt -inform DER" opens both.  *out is to be
 * freed with cpii_cms_free().  False with *why set to a constant text.
 */
extern bool cpii_cms_encrypt(const char *certificate, const void *in, size_t len,
							 unsigned char **out, size_t *outlen,
							 const char **why);
extern void cpii_cms_free(unsigned char *out);

#endif							/* CPII_CMS_H */
