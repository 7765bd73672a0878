//! The colours of [`paint`], as ratatui has them. Words and marks say the same where there are none.

use anstyle::{AnsiColor, Effects};
use ratatui::style::{Color, Modifier, Style};

use super::paint::{self, Painted};

#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// Whether colours are wanted. Bold, pale and reversed are no colours.
    pub colour: bool,
}

impl Palette {
    /// The style of a status.
    pub fn of(self, status: &impl Painted) -> Style {
        self.translated(status.style())
    }

    /// A heading, or a name that the eye should find.
    pub fn strong(self) -> Style {
        self.translated(paint::STRONG)
    }

    /// What may be passed over.
    pub fn pale(self) -> Style {
        self.translated(paint::PALE)
    }

    /// What went wrong.
    pub fn bad(self) -> Style {
        self.translated(paint::BAD)
    }

    fn translated(self, style: anstyle::Style) -> Style {
        let effects = [(Effects::BOLD, Modifier::BOLD), (Effects::DIMMED, Modifier::DIM)];
        let effects = effects.into_iter().filter(|(effect, _)| style.get_effects().contains(*effect));
        let translated = effects.fold(Style::new(), |style, (_, modifier)| style.add_modifier(modifier));
        match style.get_fg_color().filter(|_| self.colour) {
            Some(colour) => translated.fg(named(colour)),
            None => translated,
        }
    }
}

fn named(colour: anstyle::Color) -> Color {
    match colour {
        anstyle::Color::Ansi(AnsiColor::Green) => Color::Green,
        anstyle::Color::Ansi(AnsiColor::Yellow) => Color::Yellow,
        anstyle::Color::Ansi(AnsiColor::Red) => Color::Red,
        anstyle::Color::Ansi(other) => Color::Indexed(anstyle::Ansi256Color::from_ansi(other).index()),
        anstyle::Color::Ansi256(other) => Color::Indexed(other.index()),
        anstyle::Color::Rgb(anstyle::RgbColor(r, g, b)) => Color::Rgb(r, g, b),
    }
}
