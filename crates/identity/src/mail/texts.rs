//! The texts of mails, in both languages. Nothing in them was chosen by the recipient or by the sender of the request.

use super::{LINK_TTL, LinkPurpose, MailLanguage};

/// Subject and plain text of a mail about an account of the service of this name.
pub(super) fn text(
    purpose: LinkPurpose,
    language: MailLanguage,
    service: &str,
    link: &str,
) -> (&'static str, String) {
    let minutes = LINK_TTL.whole_minutes();
    match (language, purpose) {
        (MailLanguage::En, LinkPurpose::Confirm) => (
            "Confirm your e-mail address",
            format!(
                "Hello,\n\nsomebody registered an account at {service} with this e-mail address, and chose its password. If it was \
                 you, confirm the address:\n\n{link}\n\nThe link works once, within {minutes} minutes. If it was not you, ignore \
                 this mail: the account would belong to a stranger who uses your address.\n"
            ),
        ),
        (MailLanguage::En, LinkPurpose::Reset) => (
            "Set a new password",
            format!(
                "Hello,\n\nsomebody asked for a new password for your account at {service}. If it was you, set it \
                 here:\n\n{link}\n\nThe link works once, within {minutes} minutes. If it was not you, ignore this mail: your \
                 password stays as it is.\n"
            ),
        ),
        (MailLanguage::Zh, LinkPurpose::Confirm) => (
            "请确认您的邮箱地址",
            format!(
                "您好：\n\n有人使用此邮箱地址在 {service} 注册了账户，并设置了密码。如果是您本人操作，请点击以下链接确认邮箱地址：\n\n\
                 {link}\n\n链接在 {minutes} 分钟内有效，且只能使用一次。如果不是您本人操作，请忽略此邮件，否则他人将以您的邮箱地址使用该账户。\n"
            ),
        ),
        (MailLanguage::Zh, LinkPurpose::Reset) => (
            "请设置新密码",
            format!(
                "您好：\n\n有人请求重置您在 {service} 的账户密码。如果是您本人操作，请点击以下链接设置新密码：\n\n{link}\n\n\
                 链接在 {minutes} 分钟内有效，且只能使用一次。如果不是您本人操作，请忽略此邮件，您的密码不会改变。\n"
            ),
        ),
    }
}
