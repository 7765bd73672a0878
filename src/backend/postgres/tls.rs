//! What is checked of a server's certificate, by `sslmode`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::conninfo::{ConnInfo, SslMode};

/// How TLS is spoken with the servers of an address.
///
/// # Errors
///
/// Which file can't be used, and why.
pub(super) fn config(info: &ConnInfo) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let verifier: Arc<dyn ServerCertVerifier> = match info.sslmode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Arc::new(AnyName { signed: None, provider }),
        SslMode::VerifyCa => {
            Arc::new(AnyName { signed: Some(trusted(info, Arc::clone(&provider))?), provider })
        }
        SslMode::VerifyFull => trusted(info, provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let Some((certificate, key)) = &info.own_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    refuse_shared(key)?;
    let unreadable = |file: &Path| {
        let file = file.display().to_string();
        move |e: rustls::pki_types::pem::Error| format!("{file} can't be read: {e}")
    };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| format!("sslcert and sslkey: {e}"))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|e| format!("{} can't be read: {e}", file.display()))
}

/// A key that others can read is none.
fn refuse_shared(key: &Path) -> Result<(), String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let found = fs::metadata(key).map_err(|e| format!("{} can't be read: {e}", key.display()))?;
        let allowed = if found.uid() == 0 { 0o037 } else { 0o077 };
        if found.permissions().mode() & allowed != 0 {
            return Err(format!("{} can be read by others: chmod 600", key.display()));
        }
    }
    Ok(())
}

/// Who is trusted to sign: those of the address, else those of the system.
fn trusted(info: &ConnInfo, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &info.root_certificate {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|e| format!("{}: {e}", file.display()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err("no certificate is trusted here: name one by sslrootcert".to_owned());
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|e| e.to_string())
}

/// What asks for less than `verify-full`: a certificate for whatever host, signed by somebody who is trusted, if that is
/// asked for (`verify-ca`). Without it the connection is encrypted, whoever it may be with (`prefer` and `require`).
#[derive(Debug)]
struct AnyName {
    signed: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(signed) = &self.signed else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last, when all else was found right.
        match signed.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a handshake that failed means, in words; `None` if it was for another reason.
pub(super) fn in_words(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut reason = Some(error);
    while let Some(error) = reason {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<Error>().or_else(|| inner?.downcast_ref());
        if let Some(tls) = tls {
            return Some(match tls {
                Error::InvalidCertificate(reason) => certificate(reason),
                other => format!("TLS failed: {other}"),
            });
        }
        reason = error.source();
    }
    None
}

fn certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({reason})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({reason})")
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by nobody who is trusted here: name the certificate of who has \
             signed it by sslrootcert"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another host ({reason})")
        }
        other => format!("the server's certificate can't be trusted ({other})"),
    }
}
