//! Every kind of mail, over SMTP.
