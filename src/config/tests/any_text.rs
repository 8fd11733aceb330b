//! Whatever is written, it is read or refused.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn is_read_or_refused_as_a_url(text in "\\PC{0,60}", head in "postgres://[a-z:@/?,%\\[\\].=&0-9é]{0,40}") {
        let _ = from_url(&text).map_err(|mistakes| mistakes.to_string());
        let _ = from_url(&head).map_err(|mistakes| mistakes.to_string());
    }

    #[test]
    fn is_read_or_refused_as_a_file_or_variable(text in "\\PC{0,60}", value in "[-0-9a-zé\\[\\]:./, \"]{0,12}") {
        let _ = check_text("any", &text, &[]).map_err(|mistakes| mistakes.to_string());
        for section in SECTIONS {
            for key in section.all_keys() {
                let name = if section.shape == Shape::Single { "" } else { "__x" };
                let path = section.path.replace('.', "__");
                let variable = format!("PGWEIR_{path}{name}__{}", key.name);
                let _ = with_env("", &[(&variable, &value)]).map_err(|mistakes| mistakes.to_string());
                let line = format!("[{}]\n{} = {value}\n", section.path, key.name);
                let _ = check_text("any", &line, &[]).map_err(|mistakes| mistakes.to_string());
            }
        }
    }
}
